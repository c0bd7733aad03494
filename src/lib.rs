//! Cryoscope: a forensic workstation for container checkpoints.
//!
//! This page is the map of the code. Modules are declared in reading order, and each may use only
//! what stands above it (`tests/architecture.rs` holds that line):
//!
//! | module | answers |
//! |---|---|
//! | [`base`] | which words the field uses: addresses, pids, places, limits, progress |
//! | [`home`] | where the user's data of this program lies |
//! | [`evidence`] | where bytes come from; the only reader of evidence |
//! | [`remote`] | what lies in buckets and behind addresses |
//! | [`decode`] | what the bytes of an image file say; pure |
//! | [`checkpoint`] | what the container was doing: all records joined, immutable |
//! | [`memory`] | what lies at each address of a process; searching all of it |
//! | [`report`] | what leaves the program; the shapes of the JSON |
//! | [`jobs`] | how long work reports progress and is cancelled |
//! | [`sandbox`] | what a frozen container does when it goes on, in a machine of its own |
//! | [`acquire`] | what is asked of a node agent, and what is believed of its answer |
//! | `agent` | the daemon on the node: freezes, keeps, serves (feature `agent`) |
//! | [`session`] | the application without pixels: one model, one command enum |
//! | `ui` | egui panels over the session (feature `gui`) |
//! | [`cli`] | one file per subcommand; all printing |
//!
//! Data flows one way: file, member, image, record, model, view. Nothing upstream knows who looks.
//!
//! # Invariants
//! - Evidence is opened read-only, and nothing is written beside it.
//! - No length read from evidence is believed before it is compared with what is left and with
//!   [`base::Limits`]; nothing panics on evidence.
//! - What could not be read is an [`base::Issue`], never a silent skip and never a zero.
//! - A checkpoint is immutable once built; views borrow it.

pub mod base;

pub mod home;

pub mod evidence;

pub mod remote;

pub mod decode;

pub mod checkpoint;

pub mod memory;

pub mod report;

pub mod jobs;

pub mod sandbox;

pub mod acquire;

#[cfg(feature = "agent")]
pub mod agent;

pub mod session;

#[cfg(feature = "gui")]
pub mod ui;

pub mod cli;
