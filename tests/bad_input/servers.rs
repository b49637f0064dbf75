//! Servers that are down, no ComfyUI, in a proxy's hands, slow, or cut off in the middle.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::json;

use crate::stage::{Stage, Wish, assert_harmless, clip_of, job};

/// Answers every connection with these bytes, and closes it; for as long as the test program runs.
fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream, bytes));
        }
    });
    url
}

fn answer(mut stream: TcpStream, bytes: &[u8]) {
    let mut asked = [0; 4096];
    let _ = stream.read(&mut asked);
    let _ = stream.write_all(bytes);
}

/// What `status` says of such a server; and that a job which waits for it is not lost.
#[track_caller]
fn refused(url: String, words: &[&str]) {
    let mut stage = Stage::bare();
    stage.url = url;
    stage.start_engine();
    stage.drop_job("patient", 1);
    stage.until_state(1, "queued");
    let status = stage.until("words", |stage| {
        let status = stage.run(&["status"]);
        (status.code == 4 && words.iter().all(|words| status.out.contains(words))).then_some(status.out)
    });
    assert!(status.contains("away: "), "{status}");
    assert_harmless(&status);
    assert_eq!(stage.state(1).as_deref(), Some("queued"));
    assert_eq!(stage.names("jobs/queued"), ["000001-patient.json"]);
}

#[test]
fn nobody_listens() {
    refused(format!("http://127.0.0.1:{}", crate::stage::free_port()), &["away: refused"]);
}

#[test]
fn a_web_page_is_no_comfyui() {
    const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 39\r\n\r\n<html><title>\x1b[31mRouter</title></html>";
    refused(answering(PAGE), &["was not answered by ComfyUI but with", "HTML"]);
}

#[test]
fn other_json_is_no_comfyui() {
    const OTHER: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 12\r\n\r\n";
    const BODIES: [&[u8]; 3] = [b"[\"whatever\"]", b"{\"a\":     1}", b"\"whatever  \""];
    for body in BODIES {
        let bytes: &'static [u8] = [OTHER, body].concat().leak();
        refused(answering(bytes), &["was not answered by ComfyUI but with"]);
    }
}

#[test]
fn a_proxy_that_wants_a_token_is_told_apart() {
    const NEVER: &[u8] = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const NO: &[u8] =
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    refused(answering(NO), &["is not allowed (401)", "headers"]);
    refused(answering(NEVER), &["is not allowed (403)", "headers"]);
}

#[test]
fn a_proxy_without_its_server_is_told_apart() {
    const BAD: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 24\r\n\r\n<html>bad gateway</html>";
    refused(answering(BAD), &["502"]);
}

#[test]
fn an_answer_that_is_cut_is_told_apart() {
    const CUT: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"system\": {\"os\": \"pos";
    refused(answering(CUT), &["ended early"]);
    // Not even a whole header.
    refused(answering(b"HTT"), &["away: "]);
    refused(answering(b"SSH-2.0-OpenSSH_9.2\r\n"), &["away: "]);
}

#[test]
fn an_address_that_is_none_is_a_usage_error_with_words() {
    let mut stage = Stage::bare();
    for url in ["not an address", "ftp://a", "http://"] {
        stage.url = url.to_owned();
        let ran = stage.run(&["engine"]);
        assert!(ran.code == 1 || ran.code == 2, "{ran:?}");
        assert!(ran.err.contains(url) && ran.err.contains("address"), "{ran:?}");
        assert!(!ran.err.contains("panicked"));
    }
}

#[test]
fn a_slow_server_gets_its_time() {
    let slow = "[[fault]]\non = { request = \"GET /system_stats\" }\ndo = { slow = 1 }\n
        [[fault]]\non = { request = \"POST /upload/image\" }\ndo = { slow = 1 }\n
        [[fault]]\non = { request = \"POST /prompt\" }\ndo = { slow = 1 }\n
        [[fault]]\non = { request = \"GET /history/{id}\" }\ntimes = 0\ndo = { slow = 0.5 }\n
        [[fault]]\non = { request = \"GET /view\" }\ndo = { slow = 1 }\n";
    let stage = Stage::with(&Wish::faulty(slow));
    stage.drop_job("patience", 1);
    stage.until_state(1, "done");
    assert_eq!(stage.begun().len(), 1);
}

#[test]
fn a_file_cut_in_the_middle_is_fetched_again_and_never_shown_half() {
    let cut = "[[fault]]\non = { request = \"GET /view\" }\ntimes = 1\ndo = { view_cut = 5000 }\n";
    let stage = Stage::with(&Wish::faulty(cut));
    stage.drop_job("whole", 1);
    stage.until("the cut", |stage| stage.logged().contains("could not be fetched yet").then_some(()));
    assert!(stage.names("outputs").is_empty());
    stage.until_state(1, "done");
    let clip = clip_of(1).0;
    assert!(std::fs::read(stage.at("outputs/whole.mp4")).unwrap() == clip);
    assert_eq!(std::fs::read_dir(stage.at("outputs")).unwrap().count(), 1, "and no half of it");
    assert_eq!(stage.begun().len(), 1, "only the fetch is repeated");
}

#[test]
fn a_file_that_the_server_has_lost_is_rendered_again() {
    let lost = "[[fault]]\non = { request = \"GET /view\" }\ndo = \"view_404\"\n";
    let stage = Stage::with(&Wish::faulty(lost));
    stage.drop_job("lost", 1);
    stage.until_state(1, "done");
    assert_eq!(stage.begun().len(), 2);
    assert!(stage.show(1).contains("the server forgot it"), "{}", stage.show(1));
}

#[test]
fn a_job_that_the_server_refuses_fails_with_its_words_and_others_go_on() {
    let refusal = r#"[[fault]]
        on = { post = 1 }
        do = { refuse_with = { status = 400, body = '{"error": {"type": "odd", "message": "no \u001b[31mway", "details": "", "extra_info": {}}, "node_errors": {}}' } }
        "#;
    let stage = Stage::with(&Wish::faulty(refusal));
    stage.put_image();
    stage.drop_file("two.json", json!([job("a", 1), job("b", 2)]).to_string());
    let row = stage.until_state(1, "failed");
    assert!(row["error"].as_str().unwrap().contains("way"), "{row}");
    stage.until_state(2, "done");
    stage.until_file("jobs/failed/000001-two.json.error.txt");
    assert_harmless(&stage.text("jobs/failed/000001-two.json.error.txt"));
    assert_harmless(&stage.show(1));
}
