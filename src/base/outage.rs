//! Classifies errors as outages: failures of a dependency rather than of the call or of this program. The same call may
//! succeed later, so callers get 503 and messages are delivered again.

use std::io::{self, ErrorKind};

/// Whether an I/O error is an outage: a disk that is full, read-only, broken or gone, a quota, a limit or a permission.
/// Other errors mean an invalid call.
pub fn of_io(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::InvalidInput
            | ErrorKind::InvalidData
            | ErrorKind::InvalidFilename
            | ErrorKind::AlreadyExists
            | ErrorKind::IsADirectory
            | ErrorKind::DirectoryNotEmpty
            | ErrorKind::Unsupported
            // Errors that do not come from the operating system.
            | ErrorKind::Other
    )
}

/// Whether a service's status is an outage: throttled, timed out, or failing.
pub fn of_status(status: u16) -> bool {
    matches!(status, 408 | 410 | 429 | 449 | 500..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_disk_says_of_itself_is_an_outage() {
        // ENOENT EIO EACCES EROFS ENOSPC EDQUOT EMFILE ENFILE ESTALE EPERM ENODEV
        for code in [2, 5, 13, 30, 28, 122, 24, 23, 116, 1, 19] {
            assert!(of_io(&io::Error::from_raw_os_error(code)), "{code}");
        }
        // EINVAL EEXIST EISDIR ENAMETOOLONG ENOTEMPTY
        for code in [22, 17, 21, 36, 39] {
            assert!(!of_io(&io::Error::from_raw_os_error(code)), "{code}");
        }
        assert!(!of_io(&io::Error::other("ours")));
    }

    #[test]
    fn statuses_of_a_service_in_trouble_are_outages() {
        for status in [408, 410, 429, 449, 500, 502, 503, 504] {
            assert!(of_status(status), "{status}");
        }
        for status in [200, 304, 400, 401, 403, 404, 409, 412, 413] {
            assert!(!of_status(status), "{status}");
        }
    }
}
