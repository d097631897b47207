/// What stands in the place of a file that was not fetched, by its first bytes: a web page that a download was answered with, or a
/// pointer of Git LFS; with what to do. `None` for anything else.
///
/// # Example
/// ```
/// use oncograph_core::stand_in;
///
/// assert!(stand_in(b"version https://git-lfs.github.com/spec/v1\n").is_some_and(|s| s.contains("git lfs pull")));
/// assert_eq!(stand_in(b"id,age\nA,50\n"), None);
/// ```
pub fn stand_in(start: &[u8]) -> Option<&'static str> {
    // Enough for either beginning, behind blank lines.
    let text = String::from_utf8_lossy(&start[..start.len().min(256)]).trim_start().to_ascii_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") {
        Some("a web page (HTML), as a failed download leaves it, and not the file itself: fetch it again")
    } else if text.starts_with("version https://git-lfs") {
        Some("a Git LFS pointer and not the file itself: fetch it with `git lfs pull`")
    } else {
        None
    }
}
