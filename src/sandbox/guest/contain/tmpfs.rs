//! `tar` for criu in a container: it fills a tmpfs from its image, and there nobody may make devices. Those that
//! every container has are bound from the agent's own; others are refused.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Component, Path, PathBuf};
use std::process::{ExitCode, Stdio};

use rustix::mount::mount_bind;

use super::root::DEVICES;
use crate::sandbox::guest::GuestError;
use crate::sandbox::guest::restore::command;

/// The real one.
const TAR: &str = "/usr/bin/tar";
/// Most bytes of an image that is looked through.
const MAX_BYTES: u64 = 8 << 30;

/// Does what criu asks of `tar`.
pub(in crate::sandbox::guest) fn tar(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    match run(&args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tar: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &[OsString]) -> Result<u8, GuestError> {
    let mut tar = command(TAR);
    tar.args(args).stdin(Stdio::inherit());
    let mut devices = Vec::new();
    let dir = args.windows(2).find(|pair| pair[0] == "--directory").map(|pair| PathBuf::from(&pair[1]));
    if let (Some(_), true) = (&dir, args.iter().any(|arg| arg == "--extract" || arg == "-x")) {
        let image = std::io::stdin().as_fd().try_clone_to_owned();
        let mut image = File::from(image.map_err(GuestError::file("read", "the image"))?);
        // A pipe is no image.
        if image.rewind().is_ok() {
            devices = devices_in(&mut image).map_err(GuestError::file("read", "the image"))?;
            image.rewind().map_err(GuestError::file("read", "the image"))?;
        }
        tar.args(devices.iter().map(|(name, _)| format!("--exclude={}", name.to_string_lossy())));
    }
    let status = tar.status().map_err(GuestError::file("run", TAR))?;
    for (name, device) in &devices {
        let Some(device) = device else {
            let what = "a device that is none of every container's cannot be had in a user namespace";
            return Err(GuestError::file("make", name)(std::io::Error::other(what)));
        };
        let at = dir.iter().flat_map(|dir| dir.iter()).chain(name).collect::<PathBuf>();
        File::options().write(true).create_new(true).open(&at).map_err(GuestError::file("make", &at))?;
        mount_bind(Path::new("/dev").join(device), &at).map_err(GuestError::file("bind", &at))?;
    }
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2))
}

/// Names of the devices in an image, each with that of ours that it is.
fn devices_in(image: &mut File) -> std::io::Result<Vec<(PathBuf, Option<&'static str>)>> {
    let mut magic = [0; 2];
    let is_packed = image.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    image.rewind()?;
    let image = image.take(MAX_BYTES);
    if is_packed { devices_of(flate2::read::MultiGzDecoder::new(image)) } else { devices_of(image) }
}

fn devices_of(tar: impl std::io::Read) -> std::io::Result<Vec<(PathBuf, Option<&'static str>)>> {
    let mut devices = Vec::new();
    for entry in tar::Archive::new(tar).entries()? {
        let entry = entry?;
        let kind = entry.header().entry_type();
        if !kind.is_character_special() && !kind.is_block_special() {
            continue;
        }
        let name = entry.path()?.into_owned();
        let is_inside = name.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let numbers = (entry.header().device_major()?, entry.header().device_minor()?);
        let device = match numbers {
            (Some(major), Some(minor)) if kind.is_character_special() && is_inside => known(major, minor),
            _ => None,
        };
        devices.push((name, device));
    }
    Ok(devices)
}

/// The device of every container that has these numbers.
fn known(major: u32, minor: u32) -> Option<&'static str> {
    let name = match (major, minor) {
        (1, 3) => "null",
        (1, 5) => "zero",
        (1, 7) => "full",
        (1, 8) => "random",
        (1, 9) => "urandom",
        (5, 0) => "tty",
        _ => return None,
    };
    DEVICES.into_iter().find(|device| *device == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_an_image_are_those_that_can_be_bound_and_others() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |name: &str, kind, numbers: Option<(u32, u32)>| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(0);
            if let Some((major, minor)) = numbers {
                header.set_device_major(major).unwrap();
                header.set_device_minor(minor).unwrap();
            }
            builder.append_data(&mut header, name, std::io::empty()).unwrap();
        };
        add("file", tar::EntryType::Regular, None);
        add("null", tar::EntryType::Char, Some((1, 3)));
        add("vda", tar::EntryType::Block, Some((1, 3)));
        add("mem", tar::EntryType::Char, Some((1, 1)));
        let bytes = builder.into_inner().unwrap();
        let found = devices_of(bytes.as_slice()).unwrap();
        let names: Vec<(&str, Option<&str>)> = found.iter().map(|(name, it)| (name.to_str().unwrap(), *it)).collect();
        assert_eq!(names, [("null", Some("null")), ("vda", None), ("mem", None)]);
        assert!(devices_of(&bytes[..700]).is_err() || devices_of(&bytes[..700]).unwrap().is_empty());
    }
}
