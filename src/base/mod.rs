//! The words of the domain: addresses, ids, places, limits, progress. Imports nothing of ours.

mod addr;
mod bytes_text;
mod cursor;
mod field;
mod ids;
mod issue;
mod limits;
mod pem;
mod progress;
mod text;

pub use addr::{PageSize, VirtAddr};
pub use bytes_text::Text;
pub use cursor::{ByteOrder, Cursor, CursorError};
pub use field::{Absent, Field};
pub use ids::{Fd, FileId, MntId, NsId, Pid};
pub use issue::{Issue, Place};
pub use limits::Limits;
pub use pem::{PemError, certificates};
pub use progress::{Cancelled, Progress, Silent};
pub use text::{escape, escape_controls, from_hex, hex, is_clean_utf8};
