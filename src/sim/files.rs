//! The input, output and temp folders of the simulated server: what uploads are called, what
//! outputs are called, what `/view` serves (traps 21 to 27).
//!
//! Pure: a map of bytes. The driver writes what is stored to disk, where it was told to.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::Dialect;
use super::request::{Body, Response, Upload, View};

/// One of the server's three folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Folder {
    Input,
    Output,
    Temp,
}

impl Folder {
    /// Its name on the wire and on disk.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Temp => "temp",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Input, Self::Output, Self::Temp].into_iter().find(|folder| folder.name() == name)
    }
}

/// All files, by folder and path (`/` between the parts).
#[derive(Debug, Clone, Default)]
pub struct Files {
    map: BTreeMap<(Folder, String), Bytes>,
}

/// A file that was stored just now: the driver may want to keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub folder: Folder,
    pub path: String,
    pub bytes: Bytes,
}

/// Where a node saves: subfolder, stem, and the next free counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub subfolder: String,
    pub stem: String,
    pub counter: u32,
}

impl Place {
    /// `stem_00001_.ext`, and on by one for the next.
    pub fn take(&mut self, extension: &str) -> String {
        let name = format!("{}_{:05}_.{extension}", self.stem, self.counter);
        self.counter += 1;
        name
    }
}

impl Files {
    pub fn insert(&mut self, folder: Folder, path: impl Into<String>, bytes: impl Into<Bytes>) -> Stored {
        let (path, bytes) = (path.into(), bytes.into());
        self.map.insert((folder, path.clone()), bytes.clone());
        Stored { folder, path, bytes }
    }

    /// What a restart does: only the temp folder is emptied.
    pub fn clear_temp(&mut self) {
        self.map.retain(|(folder, _), _| *folder != Folder::Temp);
    }

    /// The list `LoadImage` offers: files at the top of the input folder.
    pub fn images(&self) -> Vec<String> {
        let inputs = self.map.keys().filter(|(folder, path)| *folder == Folder::Input && !path.contains('/'));
        inputs.map(|(_, path)| path.clone()).collect()
    }

    /// The file an image input names: `x.png`, `sub/x.png`, `x.png [output]`.
    pub fn annotated(&self, name: &str) -> Option<&Bytes> {
        let (path, folder) = split_annotation(name);
        self.map.get(&(folder.unwrap_or(Folder::Input), path.to_owned()))
    }

    /// Changes when the named file does.
    pub fn content_hash(&self, name: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.annotated(name).hash(&mut hasher);
        hasher.finish()
    }

    /// Where a saving node with this prefix puts its next file; `None` when that leads outside.
    pub fn place(&self, folder: Folder, prefix: &str, size: (u64, u64), now_ms: u64) -> Option<Place> {
        let full = expand(prefix, size, now_ms);
        let mut parts: Vec<&str> = Vec::new();
        for part in full.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                parts.pop()?;
            } else {
                parts.push(part);
            }
        }
        if full.starts_with('/') {
            return None;
        }
        let stem = parts.pop().unwrap_or("").to_owned();
        let subfolder = parts.join("/");
        let start = join(&subfolder, &format!("{stem}_"));
        let same = self
            .map
            .range((folder, start.clone())..)
            .take_while(|((f, path), _)| *f == folder && path.starts_with(&start));
        let taken = same.filter_map(|((_, path), _)| path[start.len()..].split('_').next()?.parse::<u32>().ok()).max();
        Some(Place { subfolder, stem, counter: taken.map_or(1, |last| last + 1) })
    }

    /// `POST /upload/image` (recording 15).
    pub fn upload(&mut self, upload: Upload) -> (Response, Option<Stored>) {
        let Some((name, bytes)) = upload.image else { return (Response::empty(400), None) };
        let Some(folder) = upload.kind.as_deref().map_or(Some(Folder::Input), Folder::named) else {
            return (Response::trouble(), None);
        };
        let name = name.replace('\\', "");
        let subfolder = upload.subfolder.unwrap_or_default().trim_matches('/').to_owned();
        if name.is_empty() {
            return (Response::trouble(), None);
        }
        if name.split('/').chain(subfolder.split('/')).any(|part| part == "..") {
            return (Response::empty(400), None);
        }
        if name.contains('/') {
            return (Response::trouble(), None);
        }
        let overwrite = matches!(upload.overwrite.as_deref(), Some("true" | "1"));
        let mut chosen = name.clone();
        let mut tries = 0;
        while let Some(there) = self.map.get(&(folder, join(&subfolder, &chosen))) {
            if overwrite || *there == bytes {
                break;
            }
            tries += 1;
            let (stem, dot, extension) = match name.rfind('.') {
                Some(at) if at > 0 => (&name[..at], ".", &name[at + 1..]),
                _ => (name.as_str(), "", ""),
            };
            chosen = format!("{stem} ({tries}){dot}{extension}");
        }
        let stored = self.insert(folder, join(&subfolder, &chosen), bytes);
        (Response::json(json!({"name": chosen, "subfolder": subfolder, "type": folder.name()})), Some(stored))
    }

    /// `GET /view` (recordings 03 and 16).
    pub fn view(&self, dialect: Dialect, view: &View) -> Response {
        let Some(filename) = view.filename.as_deref() else { return Response::empty(404) };
        let (filename, annotated) = split_annotation(filename);
        if filename.is_empty() || filename.starts_with('/') || filename.contains("..") {
            return Response::empty(400);
        }
        let folder = match (annotated, view.kind.as_deref()) {
            (Some(folder), _) => folder,
            (None, None) => Folder::Output,
            (None, Some(kind)) => match Folder::named(kind) {
                Some(folder) => folder,
                None => return Response::empty(400),
            },
        };
        let subfolder = view.subfolder.as_deref().unwrap_or("");
        if subfolder.starts_with('/') || subfolder.split(['/', '\\']).any(|part| part == "..") {
            return Response::empty(403);
        }
        let name = filename.rsplit('/').next().unwrap_or(filename);
        let Some(bytes) = self.map.get(&(folder, join(subfolder.trim_matches('/'), name))) else {
            return Response::empty(404);
        };
        let kind = content_type(name);
        if view.preview.is_some() && !kind.starts_with("image/") {
            return Response::trouble();
        }
        let mut response = ranged(bytes, kind, view.range.as_deref())
            .header("Content-Disposition", format!("filename=\"{name}\""))
            .header("Accept-Ranges", "bytes");
        if dialect == Dialect::V0_33_0 {
            response = response.header("X-Content-Type-Options", "nosniff");
        }
        response
    }
}

fn ranged(bytes: &Bytes, kind: &'static str, range: Option<&str>) -> Response {
    let total = bytes.len();
    let Some((from, to)) = range.and_then(|range| range.strip_prefix("bytes=")).and_then(|range| range.split_once('-'))
    else {
        return Response::new(200, Body::File(bytes.clone(), kind));
    };
    let (start, end) = match (from.parse::<usize>(), to.parse::<usize>()) {
        (Ok(start), Ok(last)) => (start, last.saturating_add(1).min(total)),
        (Ok(start), Err(_)) => (start, total),
        (Err(_), Ok(tail)) => (total.saturating_sub(tail), total),
        (Err(_), Err(_)) => return Response::new(200, Body::File(bytes.clone(), kind)),
    };
    if start >= end {
        return Response::empty(416).header("Content-Range", format!("bytes */{total}"));
    }
    Response::new(206, Body::File(bytes.slice(start..end), kind))
        .header("Content-Range", format!("bytes {start}-{}/{total}", end - 1))
}

fn join(subfolder: &str, name: &str) -> String {
    if subfolder.is_empty() { name.to_owned() } else { format!("{subfolder}/{name}") }
}

fn split_annotation(name: &str) -> (&str, Option<Folder>) {
    for folder in [Folder::Input, Folder::Output, Folder::Temp] {
        if let Some(path) = name.strip_suffix(&format!(" [{}]", folder.name())) {
            return (path, Some(folder));
        }
    }
    (name, None)
}

/// The tokens the server itself fills in; `%date:…%` and `%node.input%` stay (trap 24).
fn expand(prefix: &str, (width, height): (u64, u64), now_ms: u64) -> String {
    if !prefix.contains('%') {
        return prefix.to_owned();
    }
    let time = jiff::Timestamp::from_millisecond(i64::try_from(now_ms).unwrap_or(0))
        .unwrap_or_default()
        .to_zoned(TimeZone::UTC);
    [
        ("%width%", width.to_string()),
        ("%height%", height.to_string()),
        ("%year%", time.year().to_string()),
        ("%month%", format!("{:02}", time.month())),
        ("%day%", format!("{:02}", time.day())),
        ("%hour%", format!("{:02}", time.hour())),
        ("%minute%", format!("{:02}", time.minute())),
        ("%second%", format!("{:02}", time.second())),
    ]
    .into_iter()
    .fold(prefix.to_owned(), |text, (token, value)| text.replace(token, &value))
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or("").to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "txt" => "text/plain",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

/// What PIL says of bytes that are no picture: exception type and text. `None`: it opens.
pub fn picture_error(name: &str, bytes: &Bytes) -> Option<(&'static str, String)> {
    let magic: [&[u8]; 5] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM"];
    if !magic.iter().any(|start| bytes.starts_with(start)) {
        let text = format!("cannot identify image file '<comfyui>/input/{name}'\n");
        return Some(("PIL.UnidentifiedImageError", text));
    }
    let whole = !bytes.starts_with(magic[0]) || bytes.windows(4).any(|chunk| chunk == b"IEND");
    (!whole).then(|| ("OSError", "Truncated File Read\n".to_owned()))
}

/// One entry of a list of outputs.
pub fn item(filename: &str, subfolder: &str, folder: Folder) -> Value {
    json!({"filename": filename, "subfolder": subfolder, "type": folder.name()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(files: &mut Files, name: &str, bytes: &'static [u8], overwrite: Option<&str>) -> (u16, Value) {
        let image = Some((name.to_owned(), Bytes::from_static(bytes)));
        let upload = Upload { image, overwrite: overwrite.map(str::to_owned), ..Upload::default() };
        let (response, _) = files.upload(upload);
        let Body::Json(body) = response.body else { return (response.status, Value::Null) };
        (response.status, body["name"].clone())
    }

    /// Recording 15.
    #[test]
    fn uploads_are_named_as_recorded() {
        let mut files = Files::default();
        assert_eq!(send(&mut files, "a.png", b"1", None).1, "a.png");
        assert_eq!(send(&mut files, "a.png", b"1", None).1, "a.png");
        assert_eq!(send(&mut files, "a.png", b"2", None).1, "a (1).png");
        assert_eq!(send(&mut files, "a.png", b"2", None).1, "a (1).png");
        assert_eq!(send(&mut files, "a.png", b"2", Some("True")).1, "a (1).png");
        assert_eq!(send(&mut files, "a.png", b"3", Some("1")).1, "a.png");
        assert_eq!(send(&mut files, "..\\evil.png", b"1", None).1, "..evil.png");
        assert_eq!(send(&mut files, "../evil.png", b"1", None).0, 400);
        assert_eq!(send(&mut files, "/elsewhere/evil.png", b"1", None).0, 500);
        assert_eq!(send(&mut files, "d/x.png", b"1", None).0, 500);
        assert_eq!(send(&mut files, "", b"1", None).0, 500);
        assert_eq!(files.upload(Upload::default()).0.status, 400);
        assert!(files.annotated("a (1).png [input]").is_some());
    }

    /// Recordings 02, 16 and 20.
    #[test]
    fn outputs_are_counted_and_served_apart_from_their_subfolder() {
        let mut files = Files::default();
        let mut place = files.place(Folder::Output, "rec/img", (1, 1), 0).unwrap();
        assert_eq!([place.take("png"), place.take("png")], ["img_00001_.png", "img_00002_.png"]);
        assert_eq!(place.subfolder, "rec");
        files.insert(Folder::Output, "rec/img_00007_.png", &b"x"[..]);
        assert_eq!(files.place(Folder::Output, "rec/img", (1, 1), 0).unwrap().counter, 8);
        assert_eq!(files.place(Folder::Output, "rec/im", (1, 1), 0).unwrap().counter, 1);
        assert_eq!(files.place(Folder::Output, "../../evil", (1, 1), 0), None);
        let named = files
            .place(Folder::Output, "%width%x%height%_%year%-%month%_%date:yyyy%", (70, 48), 1_795_337_452_150)
            .unwrap();
        assert_eq!(named.stem, "70x48_2026-11_%date:yyyy%");

        let view = |filename: &str, subfolder: &str, kind: Option<&str>| {
            let view = View {
                head: false,
                filename: Some(filename.to_owned()),
                subfolder: Some(subfolder.to_owned()),
                kind: kind.map(str::to_owned),
                ..View::default()
            };
            files.view(Dialect::V0_33_0, &view).status
        };
        assert_eq!(view("img_00007_.png", "rec", None), 200);
        assert_eq!(view("img_00007_.png [output]", "rec", None), 200);
        assert_eq!(view("rec/img_00007_.png", "", Some("output")), 404);
        assert_eq!(view("img_00007_.png", "rec", Some("input")), 404);
        assert_eq!(view("", "", None), 400);
        assert_eq!(view("../x.png", "", None), 400);
        assert_eq!(view("x.png", "../..", Some("output")), 403);
        assert_eq!(view("x.png", "/etc", None), 403);
        assert_eq!(view("x.png", "", Some("bogus")), 400);
        assert_eq!(files.view(Dialect::V0_33_0, &View::default()).status, 404);
    }

    #[test]
    fn parts_of_a_file() {
        let mut files = Files::default();
        files.insert(Folder::Output, "v.mp4", &b"0123456789"[..]);
        let view = |range: &str| {
            let view = View { filename: Some("v.mp4".into()), range: Some(range.into()), ..View::default() };
            files.view(Dialect::V0_3_64, &view)
        };
        assert_eq!(view("bytes=0-3").body, Body::File(Bytes::from_static(b"0123"), "video/mp4"));
        assert_eq!(view("bytes=-2").body, Body::File(Bytes::from_static(b"89"), "video/mp4"));
        assert_eq!(view("bytes=8-").status, 206);
        assert_eq!(view("bytes=99-").status, 416);
    }
}
