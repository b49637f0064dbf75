//! The websocket's binary frames: previews, and words of nodes about themselves.
//!
//! Pure: bytes in, owned values out, never a failure and never a panic, however short or garbled.

use serde::Deserialize;
use serde_json::Value;

use super::json::{self, text};

/// A binary frame.
#[derive(Clone, PartialEq, Eq)]
pub enum Binary {
    /// A picture of what the sampler is at.
    Preview {
        of: Option<PreviewOf>,
        format: ImageFormat,
        image: Vec<u8>,
    },
    /// Words of a node about itself.
    Text {
        node: String,
        text: String,
    },
    Other {
        event: u32,
    },
    /// Shorter than its own lengths say.
    Unreadable {
        why: &'static str,
    },
}

/// Whose preview it is; only servers to which we announced `supports_preview_metadata` tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewOf {
    pub prompt_id: Option<String>,
    pub node_id: Option<String>,
    pub display_node_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    Jpeg,
    Png,
    Unknown,
}

impl std::fmt::Debug for Binary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Preview { of, format, image } => {
                write!(f, "Preview {{ of: {of:?}, format: {format:?}, image: {} bytes }}", image.len())
            }
            Self::Text { node, text } => write!(f, "Text {{ node: {node:?}, text: {text:?} }}"),
            Self::Other { event } => write!(f, "Other {{ event: {event} }}"),
            Self::Unreadable { why } => write!(f, "Unreadable {{ why: {why:?} }}"),
        }
    }
}

/// Reads a binary frame: a big-endian u32 event, then what that event has. Never fails.
pub fn parse_binary(frame: &[u8]) -> Binary {
    read_binary(frame).unwrap_or(Binary::Unreadable { why: "shorter than it says" })
}

fn read_binary(frame: &[u8]) -> Option<Binary> {
    let (event, rest) = u32_of(frame)?;
    Some(match event {
        1 => {
            let (format, image) = u32_of(rest)?;
            let format = match format {
                1 => ImageFormat::Jpeg,
                2 => ImageFormat::Png,
                _ => ImageFormat::Unknown,
            };
            Binary::Preview { of: None, format, image: image.to_vec() }
        }
        3 => {
            let (node, words) = counted(rest)?;
            Binary::Text {
                node: String::from_utf8_lossy(node).into_owned(),
                text: String::from_utf8_lossy(words).into_owned(),
            }
        }
        4 => {
            let (metadata, image) = counted(rest)?;
            preview_with_metadata(metadata, image)
        }
        event => Binary::Other { event },
    })
}

fn preview_with_metadata(metadata: &[u8], image: &[u8]) -> Binary {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Wire {
        prompt_id: Value,
        node_id: Value,
        display_node_id: Value,
        image_type: Value,
    }
    let Ok(wire) = json::parse::<Wire>(metadata) else {
        return Binary::Unreadable { why: "its metadata is not JSON" };
    };
    let format = match wire.image_type.as_str() {
        Some("image/jpeg") => ImageFormat::Jpeg,
        Some("image/png") => ImageFormat::Png,
        _ => ImageFormat::Unknown,
    };
    let of = PreviewOf {
        prompt_id: text(&wire.prompt_id),
        node_id: text(&wire.node_id),
        display_node_id: text(&wire.display_node_id),
    };
    Binary::Preview { of: Some(of), format, image: image.to_vec() }
}

fn u32_of(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*head), rest))
}

/// A big-endian u32 length, that many bytes, and the rest.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = u32_of(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_garbled_binary_frames_never_panic() {
        let metadata = br#"{"prompt_id":"p","node_id":"1","image_type":"image/png"}"#;
        let mut frame = 4u32.to_be_bytes().to_vec();
        frame.extend(u32::try_from(metadata.len()).unwrap().to_be_bytes());
        frame.extend(metadata);
        frame.extend(b"\x89PNG");
        for end in 0..8 + metadata.len() {
            assert!(matches!(parse_binary(&frame[..end]), Binary::Unreadable { .. }), "{end}");
        }
        let Binary::Preview { of: Some(of), format, image } = parse_binary(&frame) else { panic!("no preview") };
        assert_eq!((of.prompt_id.as_deref(), format, image.as_slice()), (Some("p"), ImageFormat::Png, &b"\x89PNG"[..]));
        assert_eq!(parse_binary(&[0, 0, 0, 9, 1]), Binary::Other { event: 9 });
        assert!(matches!(parse_binary(&[0, 0, 0, 3, 255, 255, 255, 255, 1]), Binary::Unreadable { .. }));
        assert!(matches!(parse_binary(b"\0\0\0\x04\0\0\0\x02{]x"), Binary::Unreadable { .. }));
    }
}
