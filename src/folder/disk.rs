//! Questions about the disk below a folder.

use std::io;
use std::path::Path;

use super::{FolderError, real_path};

/// Refuses a network disk for the store: `SQLite`'s WAL and file locks fail there.
///
/// # Errors
/// What kind of disk it is, and the way out.
pub fn refuse_network_disk(state_dir: &Path) -> Result<(), FolderError> {
    let look = |source| FolderError::Look { path: state_dir.to_owned(), source };
    let real = real_path(state_dir).map_err(look)?;
    match network_disk(&real).map_err(look)? {
        Some(kind) => Err(FolderError::NetworkDisk { path: state_dir.to_owned(), kind }),
        None => Ok(()),
    }
}

/// True on a network disk, which sends no file events. Where nobody can tell, it is a local one.
pub fn is_network_disk(path: &Path) -> bool {
    real_path(path).and_then(|real| network_disk(&real)).is_ok_and(|kind| kind.is_some())
}

/// Free bytes for us on the disk of `path`; `None` where the standard library can't tell (Windows).
///
/// # Errors
/// When the path is not there.
pub fn disk_free(path: &Path) -> io::Result<Option<u64>> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }
    #[cfg(not(unix))]
    {
        path.metadata()?;
        Ok(None)
    }
}

/// The kind of network disk that a path (which need not exist yet) is on, `None` for a local one.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "other systems ask something that can fail")]
fn network_disk(real: &Path) -> io::Result<Option<String>> {
    // without /proc (a bare chroot) nothing is refused
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    Ok(mount_kind(&String::from_utf8_lossy(&mounts), real).filter(|kind| is_network(kind)))
}

#[cfg(target_os = "macos")]
fn network_disk(real: &Path) -> io::Result<Option<String>> {
    // MNT_LOCAL, statfs(2)
    const MNT_LOCAL: u32 = 0x1000;
    let there = real.ancestors().find(|path| path.exists()).unwrap_or(real);
    let stat = rustix::fs::statfs(there)?;
    Ok((stat.f_flags & MNT_LOCAL == 0).then(|| "not local".to_owned()))
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
#[expect(clippy::unnecessary_wraps, reason = "other systems ask something that can fail")]
fn network_disk(real: &Path) -> io::Result<Option<String>> {
    // resolving a path shows a mapped drive's share: \\?\UNC\server\share
    use std::path::{Component, Prefix};
    let share = matches!(
        real.components().next(),
        Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..))
    );
    Ok(share.then(|| "a Windows share".to_owned()))
}

/// The file system of the mount that a path lies on, by `/proc/self/mountinfo` (proc(5)): mount point in the
/// fifth field, type in the first after the lone `-`. The longest mount point wins, of two equal ones the later.
#[cfg(any(target_os = "linux", test))]
fn mount_kind(mountinfo: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mountinfo.lines() {
        let (Some(point), Some(kind)) =
            (line.split(' ').nth(4), line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next()))
        else {
            continue;
        };
        let point = unescape(point);
        if path.starts_with(&point) && best.is_none_or(|(longest, _)| point.len() >= longest) {
            best = Some((point.len(), kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

/// Mount points are written with `\040` for a space, and so on.
#[cfg(any(target_os = "linux", test))]
fn unescape(point: &str) -> String {
    let mut parts = point.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(3).unwrap_or(("", part));
        match u8::from_str_radix(code, 8) {
            Ok(byte) if byte.is_ascii() => text.push(char::from(byte)),
            _ => text.push_str(code),
        }
        text.push_str(rest);
    }
    text
}

/// File systems that live on another machine. `fuseblk` is a local NTFS disk, other FUSE ones are let through
/// unless they are known to be remote.
#[cfg(any(target_os = "linux", test))]
fn is_network(kind: &str) -> bool {
    const NETWORK: &[&str] = &[
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ncpfs",
        "9p",
        "afs",
        "ceph",
        "lustre",
        "gpfs",
        "glusterfs",
        "beegfs",
        "orangefs",
        "coda",
        "vboxsf",
        "vmhgfs",
        "prl_fs",
        "drvfs",
    ];
    const REMOTE_FUSE: &[&str] = &[
        "sshfs",
        "rclone",
        "s3fs",
        "gcsfuse",
        "goofys",
        "glusterfs",
        "davfs",
        "curlftpfs",
        "smbnetfs",
        "ceph",
        "vmhgfs",
        "blobfuse",
        "blobfuse2",
        "juicefs",
        "mfs",
        "seaweedfs",
    ];
    NETWORK.contains(&kind)
        || kind.strip_prefix("fuse.").is_some_and(|kind| REMOTE_FUSE.iter().any(|name| kind.starts_with(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /mnt/share rw - nfs4 box:/export rw
41 22 0:36 / /mnt/my\\040box rw - fuse.sshfs me@box: rw
42 40 8:2 / /mnt/share/local rw shared:5 master:2 - xfs /dev/sdb1 rw
43 22 0:37 / /mnt/twice rw - ext4 /dev/sdc1 rw
44 22 0:38 / /mnt/twice rw - cifs //box/x rw
broken line
";

    #[test]
    fn the_nearest_mount_tells_the_disk() {
        for (path, kind) in [
            ("/home/x/.comfytop", "ext4"),
            ("/mnt/share/renders/.comfytop", "nfs4"),
            ("/mnt/shared", "ext4"),
            ("/mnt/my box/a", "fuse.sshfs"),
            ("/mnt/share/local/a", "xfs"),
            ("/mnt/twice", "cifs"),
        ] {
            assert_eq!(mount_kind(MOUNTS, Path::new(path)).as_deref(), Some(kind), "{path}");
        }
        assert_eq!(mount_kind("", Path::new("/x")), None);
    }

    #[test]
    fn network_disks_are_told_from_local_ones() {
        for kind in ["nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.rclone"] {
            assert!(is_network(kind), "{kind}");
        }
        for kind in ["ext4", "btrfs", "zfs", "overlay", "tmpfs", "fuseblk", "fuse.mergerfs", "fuse.gocryptfs"] {
            assert!(!is_network(kind), "{kind}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_yet_can_be_asked_about() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        // whatever this machine's disk is, the answer is one of two
        match refuse_network_disk(&dir.path().join("not/yet")) {
            Ok(()) => {}
            Err(error) => assert!(error.to_string().contains("--state"), "{error}"),
        }
    }

    #[cfg(unix)]
    #[test]
    fn free_space_is_a_number() {
        assert!(disk_free(&std::env::temp_dir()).expect("asked").is_some());
        assert!(disk_free(Path::new("/no/such/place")).is_err());
    }
}
