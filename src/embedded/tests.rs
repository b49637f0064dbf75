use std::io::Cursor;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;

fn media(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/carrying").join(name)
}

fn found(name: &str) -> Embedded {
    let bytes = std::fs::read(media(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    read(&mut Cursor::new(bytes)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Written by ComfyUI's own code for each kind, on the libraries that it uses (`tests/media/README.md`).
#[test]
fn every_kind_that_comfyui_writes_gives_its_prompt_back() {
    let want = json!({
        "3": {"inputs": {"seed": u64::MAX, "text": "café 日本 😀", "images": ["4", 0]}, "class_type": "SaveImage", "_meta": {"title": "Save"}},
        "4": {"inputs": {"image": "start.png"}, "class_type": "LoadImage"},
    });
    for name in [
        "image.png",
        "itxt.png",
        "animated.png",
        "animated.webp",
        "still.webp",
        "sound.flac",
        "video.mp4",
        "slow.mp4",
        "video.webm",
        "video.mkv",
        "vhs.mp4",
        "vhs.webm",
    ] {
        let found = found(name);
        let graph = found.graph().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Value::Object(graph), want, "{name}");
        if name != "itxt.png" {
            let page: Value = serde_json::from_str(&found.workflow.expect(name)).expect(name);
            assert_eq!(page["nodes"][0]["type"], "SaveImage", "{name}");
        }
    }
}

#[test]
fn a_file_without_a_prompt_says_so() {
    for name in ["bare.png", "bare.mp4"] {
        assert!(matches!(found(name).graph(), Err(EmbeddedError::None)), "{name}");
    }
    assert!(matches!(read(&mut Cursor::new(b"GIF89a and more")), Err(EmbeddedError::Unknown)));
    assert!(matches!(read(&mut Cursor::new(b"")), Err(EmbeddedError::Unknown)));
    let page = Embedded { workflow: Some("{}".to_owned()), prompt: None };
    assert!(matches!(page.graph(), Err(EmbeddedError::OnlyPage)));
    assert!(matches!(page.job_graph(), Err(EmbeddedError::NotAGraph)));
    let page = Embedded { workflow: Some(r#"{"nodes": [], "links": []}"#.to_owned()), prompt: None };
    assert!(page.job_graph().is_ok_and(|graph| graph.contains_key("nodes")), "a server makes it fit to run");
    for (text, words) in [("{", "not JSON"), ("[]", "no graph"), ("{\"a\": 1}", "no graph")] {
        let it = Embedded { prompt: Some(text.to_owned()), workflow: None };
        assert!(it.graph().expect_err("refused").to_string().contains(words), "{text}");
    }
}

/// Cut anywhere, and with any byte turned: an answer, and no more memory than the file has.
#[test]
fn broken_files_never_panic() {
    for name in ["image.png", "animated.webp", "sound.flac", "video.mp4", "video.webm", "vhs.mp4", "video.mkv"] {
        let whole = std::fs::read(media(name)).expect(name);
        for end in (0..whole.len()).step_by(7) {
            let _ = read(&mut Cursor::new(whole.get(..end).expect("shorter")));
        }
        for at in (0..whole.len().min(3000)).step_by(3) {
            for turned in [0x00, 0xff, 0x7f] {
                let mut bytes = whole.clone();
                bytes[at] = turned;
                if let Ok(found) = read(&mut Cursor::new(bytes)) {
                    let _ = found.graph();
                }
            }
        }
    }
}
