//! What goes into a request from outside, made fit for it: the server's address, headers, names.
//!
//! Pure. Errors never repeat a header's value or a password.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::error::{ComfyError, excerpt};
use super::history::{FileKind, OutputRef};

/// The address as a URL that ends with `/`.
pub(super) fn base_address(text: &str) -> Result<Url, ComfyError> {
    let wrong = |why: &str| ComfyError::Address { url: excerpt(text, 200), why: why.to_owned() };
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let mut url = Url::parse(&with_scheme).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it must start with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ComfyError::Credentials { host: url.host_str().unwrap_or_default().to_owned() });
    }
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

pub(super) fn header_map(headers: &BTreeMap<String, String>) -> Result<HeaderMap, ComfyError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let wrong = |why: &str| ComfyError::Header { name: excerpt(name, 80), why: why.to_owned() };
        let key: HeaderName = name.trim().parse().map_err(|_| wrong("this is not a header's name"))?;
        if ["accept-encoding", "connection", "content-length", "transfer-encoding", "upgrade"].contains(&key.as_str()) {
            return Err(wrong("comfytop sets this one itself"));
        }
        let mut value: HeaderValue = value.trim().parse().map_err(|_| wrong("its value holds control characters"))?;
        value.set_sensitive(true);
        map.insert(key, value);
    }
    Ok(map)
}

/// A name the server takes: it answers 500 to `/` and to nothing, 400 to `..`, and loses backslashes.
pub(super) fn upload_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last.chars().filter(|c| !c.is_control() && *c != '"').collect();
    if matches!(name.trim(), "" | "." | "..") { "input".to_owned() } else { name }
}

/// `sub/x.png [output]` as a file; `None` for names that leave the folder, which the server refuses.
pub(super) fn input_file(name: &str) -> Option<OutputRef> {
    let annotated = name.strip_suffix(']').and_then(|name| name.rsplit_once(" ["));
    let (path, kind) = match annotated.and_then(|(path, kind)| Some((path, FileKind::from_name(kind)?))) {
        Some(found) => found,
        None => (name, FileKind::Input),
    };
    let (subfolder, filename) = path.rsplit_once('/').unwrap_or(("", path));
    let leaves = path.starts_with('/') || path.split('/').any(|part| part == "..");
    (!leaves && !filename.is_empty()).then(|| OutputRef {
        filename: filename.to_owned(),
        subfolder: subfolder.to_owned(),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_names_are_ones_the_server_takes() {
        for (name, sent) in [
            ("a.png", "a.png"),
            ("d1/a.png", "a.png"),
            ("..\\evil.png", "evil.png"),
            ("/etc/passwd", "passwd"),
            ("..", "input"),
            ("", "input"),
            ("日本 語.png", "日本 語.png"),
            ("a\"\r\n.png", "a.png"),
        ] {
            assert_eq!(upload_name(name), sent, "{name}");
        }
    }

    #[test]
    fn names_of_inputs_are_read_as_a_graph_means_them() {
        let file = |name: &str| input_file(name).map(|file| (file.subfolder, file.filename, file.kind));
        let want = |folder: &str, name: &str, kind| Some((folder.to_owned(), name.to_owned(), kind));
        assert_eq!(file("sub/deep/x.png"), want("sub/deep", "x.png", FileKind::Input));
        assert_eq!(file("x.png [output]"), want("", "x.png", FileKind::Output));
        assert_eq!(file("x [y].png"), want("", "x [y].png", FileKind::Input));
        for name in ["../x.png", "/etc/x", "a/../x", "", "a/"] {
            assert_eq!(file(name), None, "{name}");
        }
    }
}
