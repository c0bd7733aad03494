//! Compiles `assets/schema/*.proto` to Rust types, and to the descriptors that the raw view reads.
#![expect(clippy::disallowed_methods, reason = "a build script reads the schema and writes what Cargo asks for")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Messages that are wide and mostly empty are boxed in these, so that a vector of them stays small.
const BOXED: [&str; 12] = [
    ".criu.core_entry.thread_info",
    ".criu.core_entry.ti_arm",
    ".criu.core_entry.ti_aarch64",
    ".criu.core_entry.ti_ppc64",
    ".criu.core_entry.ti_s390",
    ".criu.core_entry.ti_mips",
    ".criu.core_entry.ti_loongarch64",
    ".criu.core_entry.ti_riscv64",
    ".criu.core_entry.tc",
    ".criu.core_entry.thread_core",
    ".criu.pagemap_entry.blocks",
    ".criu.net_device_entry.sit",
];

/// The kinds of `file_entry`, of which exactly one is there.
const FILES: [&str; 20] = [
    "reg", "isk", "nsf", "psk", "nlsk", "efd", "epfd", "sgfd", "tunf", "tfd", "ify", "ffy", "ext", "usk", "fifo",
    "pipe", "tty", "memfd", "bpf", "pidfd",
];

fn main() -> Result<(), Box<dyn Error>> {
    let schema = Path::new("assets/schema");
    println!("cargo::rerun-if-changed={}", schema.display());
    // The guest is started by the kernel of the sandbox's machine, where these lie (src/sandbox/guest/mod.rs); the host's
    // loader and libraries go there with it, so that its C library may be older or newer than the bundle's.
    println!("cargo::rustc-link-arg-bin=cryoscope-guest=-Wl,--dynamic-linker=/cryoscope/lib/ld.so");
    println!("cargo::rustc-link-arg-bin=cryoscope-guest=-Wl,-rpath,/cryoscope/lib");
    println!("cargo::rerun-if-changed=src/build.rs");
    let mut files = Vec::<PathBuf>::new();
    for entry in fs::read_dir(schema)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();

    let mut compiler = protox::Compiler::new([schema])?;
    compiler.include_imports(true).open_files(&files)?;
    // Encoded by protox and not by prost, which would drop the `show` options.
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    fs::write(out.join("schema.bin"), compiler.encode_file_descriptor_set())?;

    let mut compiler = protox::Compiler::new([schema])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]).enable_type_names();
    for field in BOXED {
        config.boxed(field);
    }
    for field in FILES {
        config.boxed(format!(".criu.file_entry.{field}"));
    }
    config.compile_fds(compiler.file_descriptor_set())?;
    if env::var_os("CARGO_FEATURE_AGENT").is_some() {
        runtime_interface()?;
    }
    Ok(())
}

/// What the agent asks of container runtimes; it has no place among the images.
fn runtime_interface() -> Result<(), Box<dyn Error>> {
    let dir = Path::new("assets/cri");
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut compiler = protox::Compiler::new([dir])?;
    compiler.include_imports(true).include_source_info(true).open_file(dir.join("runtime.proto"))?;
    prost_build::Config::new().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
