//! Numbers that name things, each its own type so that none is taken for another.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Process or thread number as stored in `pstree.img`: inside the outermost dumped pid namespace.
    Pid(u32)
}
id! {
    /// Number of a descriptor in one process.
    Fd(u32)
}
id! {
    /// CRIU's number of an open file description, which several descriptors may share.
    FileId(u32)
}
id! {
    /// `mnt_id` of a mount, as in `/proc/PID/mountinfo`.
    MntId(u32)
}
id! {
    /// CRIU's own number of a namespace, found in `ids-PID.img` and in the names of namespace images.
    NsId(u32)
}
