//! Thawing a checkpoint in a sealed machine: restoring runs hostile code, so it runs in a throw-away virtual machine, or,
//! where the analyst wants that and is root, in namespaces of this kernel.
//!
//! | module | answers |
//! |---|---|
//! | [`plan`] | what will run, from what, with what standing in for the host: pure data, shown before anything runs |
//! | [`bundle`] | the kernel and the small system that criu runs in; made from signed packages of Debian, kept per user |
//! | [`disk`] | root file system and images as one read-only disk, made without unpacking anything on the host |
//! | [`run`] | a run: the process that holds the guest, its one channel, what is told and ordered |
//! | [`microvm`] | the machine: QEMU and its limits |
//! | [`container`] | namespaces of this kernel instead: what isolates, and what of it can be had |
//! | [`backend`] | which of both |
//! | [`explain`] | what criu's errors mean |
//! | [`host`] | what this machine offers to one inside of it |
//! | [`protocol`] | what goes over that channel; the guest is not trusted |
//! | [`watched`] | what the guest sees of the processes: system calls, open and changed files, what reached the sink |
//! | [`words`] | events of a run for people |
//! | [`syscalls`] | names and arguments of system calls |
//! | [`pcap`] | packets that the guest recorded, checked and written |
//! | [`thaw`] | one restore, from the plan to the end |
//! | [`journal`] | the log of what was restored |
//! | [`refrozen`] | the archive of a checkpoint that was taken in the machine |
//! | [`handover`] | giving it to Podman, CRI-O, containerd or Kubernetes instead |
//! | [`guest`] | the program inside: init and agent, which restores and watches (`cryoscope-guest`) |
//! | `sys` | the few system calls that Rust has no safe words for |
//!
//! # Steps of a run
//! 1. The plan is made from the checkpoint and the base image ([`plan::make`]).
//! 2. The disk is written into a file without a name ([`disk::write`]).
//! 3. QEMU starts with kernel, initrd and disk handed in as open files, and with one channel ([`microvm`]); or the keeper of a
//!    container does, without a kernel.
//! 4. The guest says hello, gets the plan's restore part, runs criu, and tells what happens until the time is over.
//! 5. The machine is killed. Nothing of it has a name on the host, so nothing is left.

pub mod backend;
pub mod bundle;
pub mod container;
pub mod disk;
mod elf;
pub mod explain;
pub mod guest;
pub mod handover;
pub mod host;
pub mod journal;
pub mod microvm;
pub mod pcap;
pub mod plan;
pub mod protocol;
pub mod refrozen;
pub mod run;
mod sys;
pub mod syscalls;
pub mod thaw;
pub mod watched;
pub mod words;
