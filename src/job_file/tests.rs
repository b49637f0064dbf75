use unicode_width::UnicodeWidthStr;

use super::places::excerpt;
use super::*;
use serde_json::json;

fn one(text: &str) -> JobSpec {
    let mut jobs = parse(Format::Json, text.as_bytes()).expect("a job");
    assert_eq!(jobs.len(), 1);
    jobs.remove(0)
}

fn error(bytes: impl AsRef<[u8]>) -> JobFileError {
    parse(Format::Json, bytes.as_ref()).expect_err("an error").remove(0)
}

fn place(line: usize, column: usize) -> Place {
    Place { line, column }
}

#[test]
fn the_shape_people_already_have_works_as_it_stands() {
    let job = one(
        r#"{"workflow": "wan2.2-i2v-loop", "name": "reading_loop", "image": "reading_start.png", "prompt": "turning a page …", "seed": 123}"#,
    );
    assert_eq!(job.workflow, Source::Named(Some("wan2.2-i2v-loop".into())));
    assert_eq!(job.name.as_deref(), Some("reading_loop"));
    assert_eq!(job.slots.keys().collect::<Vec<_>>(), ["image", "prompt", "seed"]);
    assert_eq!(job.slots["seed"], json!(123));
    assert_eq!((job.priority, job.hold), (0, false));
}

#[test]
fn our_own_keys_are_no_slots() {
    let job = one(
        r#"{"set": {"14.cfg": 1.5}, "priority": -3, "note": "n", "server": "attic", "hold": true, "tags": ["a"], "x": 1}"#,
    );
    assert_eq!(job.set["14.cfg"], json!(1.5));
    assert_eq!((job.priority, job.hold), (-3, true));
    assert_eq!((job.note.as_deref(), job.server.as_deref()), (Some("n"), Some("attic")));
    assert_eq!(job.tags, ["a"]);
    assert_eq!(job.slots.keys().collect::<Vec<_>>(), ["x"]);
}

#[test]
fn a_list_is_several_jobs_each_with_its_place() {
    let file = b"\xEF\xBB\xBF[{\"a\": 1},\n  {\"b\": 2},\n\n{\"c\": 3}]";
    assert_eq!(parse(Format::Json, file).expect("jobs").len(), 3);
    let places = Places::new(Format::Json, file);
    let places = (0..3).map(|job| places.error(job, &[""; 0], "").place);
    assert_eq!(places.collect::<Vec<_>>(), [(1, 2), (2, 3), (4, 1)].map(|(l, c)| Some(place(l, c))));
}

#[test]
fn a_large_file_is_walked_once_and_not_for_each_of_its_jobs() {
    // 4 MB on one line: walked for each job, this takes minutes
    let job = format!("{{\"prompt\": \"{}\", \"sed\": 1}}", "x".repeat(4_000));
    let file = format!("[{}]", vec![job.as_str(); MAX_JOBS].join(", "));
    assert_eq!(parse(Format::Json, file.as_bytes()).expect("jobs").len(), MAX_JOBS);
    let places = Places::new(Format::Json, file.as_bytes());
    for index in 0..MAX_JOBS {
        let error = places.error(index, &["sed"], "no such slot");
        let column = 2 + index * (job.len() + 2) + job.len() - "\"sed\": 1}".len();
        assert_eq!(error.place, Some(place(1, column)), "{index}");
        let line = error.excerpt.lines().next().expect("a line").to_owned();
        assert!(line.contains("\"sed\": 1}"), "{line}");
    }
}

#[test]
fn a_graph_is_a_job_alone_or_under_workflow() {
    let graph = r#"{"3": {"class_type": "SaveImage", "inputs": {}}}"#;
    assert!(matches!(one(graph).workflow, Source::Graph(map) if map.contains_key("3")));
    let job = one(&format!(r#"{{"workflow": {graph}, "name": "x", "set": {{"3.a": 1}}}}"#));
    assert!(matches!(job.workflow, Source::Graph(_)));
    assert_eq!(job.name.as_deref(), Some("x"));
}

#[test]
fn a_graph_of_the_page_is_a_job_alone_or_under_workflow() {
    for text in [r#"{"nodes": [], "links": []}"#, r#"{"workflow": {"nodes": [], "links": []}, "name": "x"}"#] {
        assert!(matches!(one(text).workflow, Source::Page(page) if page.contains_key("nodes")), "{text}");
    }
}

#[test]
fn what_is_not_json_says_where() {
    let e = error("{\n  \"prompt\": \"一二三\" \"seed\": 1\n}");
    assert_eq!(e.place, Some(place(2, 19)));
    assert_eq!(e.excerpt, "2 |   \"prompt\": \"一二三\" \"seed\": 1\n  |                      ^");
    assert!(e.to_string().starts_with("line 2, column 19: not JSON: expected `,` or `}`"), "{e}");
    for (text, hint) in [
        ("{\"a\": 1,}", "last comma"),
        ("{\"a\": ", "ends too early"),
        ("{'a': 1}", "double quotes"),
        ("{“a”: 1}", "double quotes"),
        ("{\"a\": \"C:\\pics\"}", "backslash"),
        ("{\"a\": \"x\ny\"}", "\\n"),
        ("{\"a\": 1 // one\n}", "comments"),
        ("{\"a\": NaN}", "finite"),
        ("not json at all", "not JSON"),
    ] {
        assert!(error(text).message.contains(hint), "{text}: {}", error(text));
    }
}

#[test]
fn a_key_that_stands_twice_is_not_lost_in_silence() {
    let e = error("{\"workflow\": \"x\",\n  \"prompt\": \"a\",\n  \"seed\": 1, \"prompt\": \"b\"}");
    assert_eq!(e.place, Some(place(3, 14)));
    assert!(e.message.starts_with("`prompt` stands twice"), "{e}");
    assert!(error(r#"{"workflow": "x", "set": {"1.a": 1, "1.a": 2}}"#).message.contains("`1.a` stands twice"));
    let lines = b"{\"seed\": 1}\n{\"seed\": 1, \"seed\": 2}\n";
    let e = parse(Format::JsonLines, lines).expect_err("an error").remove(0);
    assert_eq!(e.place, Some(place(2, 13)), "{e}");
    // In jobs of one list it does not.
    assert_eq!(parse(Format::Json, br#"[{"seed": 1}, {"seed": 1}]"#).expect("jobs").len(), 2);
}

#[test]
fn the_wrong_shape_points_at_the_key() {
    for (text, at, words) in [
        ("5", Some(place(1, 1)), "not the number 5"),
        ("[{\"a\":1},\n [2]]", Some(place(2, 2)), "not a list"),
        ("[]", None, "no jobs"),
        ("{}", Some(place(1, 1)), "empty"),
        ("{\"name\":\n 5}", Some(place(1, 2)), "`name` must be a text"),
        ("{\"a\": 1,\n  \"priority\": 1.5}", Some(place(2, 3)), "whole number"),
        ("{\"priority\": -9223372036854775808}", Some(place(1, 2)), "between -1000000 and 1000000"),
        ("{\"priority\": 18446744073709551615}", Some(place(1, 2)), "between -1000000 and 1000000"),
        ("{\"priority\": 1000001}", Some(place(1, 2)), "between -1000000 and 1000000"),
        ("{\"name\": \"\\u001b\\u0007 \"}", Some(place(1, 2)), "`name` is empty"),
        ("{\"hold\": \"yes\"}", Some(place(1, 2)), "true or false"),
        ("{\"tags\": \"a\"}", Some(place(1, 2)), "list of texts"),
        ("{\"workflow\": 3}", Some(place(1, 2)), "name of a workflow"),
        ("{\"workflow\": \" \"}", Some(place(1, 2)), "empty"),
        ("{\"set\": []}", Some(place(1, 2)), "an object"),
        ("{\"set\": {\"14.cfg\": 1,\n\"cfg\": 2}}", Some(place(2, 1)), "node id"),
    ] {
        let e = error(text);
        assert_eq!(e.place, at, "{text}");
        assert!(e.message.contains(words), "{text}: {e}");
    }
}

#[test]
fn files_that_are_no_text_are_refused() {
    for (bytes, words) in [
        (&b""[..], "empty"),
        (b"\xEF\xBB\xBF \n", "empty"),
        (b"\x89PNG\r\n\x00\x01", "binary"),
        (b"{\"a\": \"\xFF\"}", "not UTF-8"),
        (b"\xFF\xFE{\x00", "UTF-16"),
    ] {
        assert!(error(bytes).message.contains(words), "{bytes:?}: {}", error(bytes));
    }
    let mut huge = b"{\"a\": \"".to_vec();
    huge.resize(17 << 20, b'x');
    assert!(error(huge).message.contains("4 MiB"));
    let many = format!("[{}]", vec!["{\"a\":1}"; MAX_JOBS + 1].join(","));
    assert!(error(many).message.contains("1001 jobs"));
    let deep = "[".repeat(100_000);
    assert!(error(deep).message.contains("recursion limit"));
}

#[test]
fn a_half_written_file_is_not_complete() {
    let whole = br#"{"workflow": "x", "prompt": "a b"}"#;
    let is_complete = |bytes: &[u8]| Format::Json.is_complete(bytes);
    assert_eq!(is_complete(whole), Some(true));
    assert_eq!(is_complete(b"\xEF\xBB\xBF{}\n"), Some(true));
    for end in 0..whole.len() {
        assert_eq!(is_complete(&whole[..end]), Some(false), "{end}");
    }
    assert_eq!(is_complete(&[0; 64]), Some(false));
    assert_eq!(Format::Csv.is_complete(b"seed\n1\n"), None, "the next row may still come");
}

#[test]
fn an_excerpt_is_cut_round_the_caret_and_safe_to_show() {
    let long = format!("{{\"prompt\": \"{}\u{1b}[2J\" ? {}}}", "x".repeat(300), "y".repeat(300));
    let text = excerpt(&long, 1, long.find('?').expect("there"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.width() < 100), "{text}");
    assert!(!text.contains('\u{1b}'));
    let caret = lines[1].chars().count() - 1;
    assert_eq!(lines[0].chars().nth(caret), Some('?'));
    assert_eq!(excerpt("ab", 1, 9), "1 | ab\n  |   ^");
    assert_eq!(excerpt("x\r\nab\r\ny", 2, 4), "2 | ab\n  |  ^");
}

#[test]
fn an_error_found_later_points_into_the_file_too() {
    let file = b"[{\"a\": 1},\n {\"set\": {\"9.cfg\": 1}}]";
    assert_eq!(Places::new(Format::Json, file).error(1, &["set", "9.cfg"], "no node 9").place, Some(place(2, 11)));
    assert_eq!(Places::new(Format::Json, b"{\"sed\": 1}").error(0, &["sed"], "no such slot").place, Some(place(1, 2)));
    // a slot that is missing has no place of its own: the job's
    assert_eq!(Places::new(Format::Json, file).error(1, &["image"], "missing").place, Some(place(2, 2)));
    assert_eq!(Places::new(Format::Json, b"\xFF").error(0, &["a"], "x").place, None);
}

fn all(format: Format, text: &str) -> Vec<JobSpec> {
    parse(format, text.as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn told(format: Format, text: &str) -> Vec<String> {
    parse(format, text.as_bytes()).expect_err("errors").iter().map(ToString::to_string).collect()
}

#[test]
fn four_formats_say_the_same() {
    let want = one(
        r#"{"workflow": "w", "prompt": "a, \"b\"\nc", "seed": 7, "set": {"14.cfg": 1.5}, "priority": 2, "hold": true, "tags": ["x", "y"]}"#,
    );
    let toml = "workflow = \"w\"\nprompt = \"\"\"\na, \"b\"\nc\"\"\"\nseed = 7\npriority = 2\nhold = true\ntags = [\"x\", \"y\"]\n[set]\n\"14.cfg\" = 1.5\n";
    assert_eq!(all(Format::Toml, toml), std::slice::from_ref(&want));
    let line = r#"{"workflow": "w", "prompt": "a, \"b\"\nc", "seed": 7, "set": {"14.cfg": 1.5}, "priority": 2, "hold": true, "tags": ["x", "y"]}"#;
    assert_eq!(all(Format::JsonLines, &format!("\n{line}\n\n{line}\n"))[0], want);
    for separator in [",", ";", "\t"] {
        let header = ["workflow", "prompt", "seed", "14.cfg", "priority", "hold", "tags"].join(separator);
        let row = ["w", "\"a, \"\"b\"\"\nc\"", "7", "1.5", "2", "yes", "\"x;y\""].join(separator);
        let jobs = all(Format::Csv, &format!("\u{feff}{header}\r\n{row}\r\n\r\n"));
        let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
        assert!(job.origin.textual);
        assert_eq!(
            (&job.slots["prompt"], &job.slots["seed"], &job.set["14.cfg"]),
            (&json!("a, \"b\"\nc"), &json!(7), &json!("1.5"))
        );
        assert_eq!((job.priority, job.hold, &job.tags), (2, true, &want.tags));
    }
}

#[test]
fn tables_of_jobs_share_what_stands_before_them() {
    let jobs = all(
        Format::Toml,
        "workflow = \"w\"\nseed = 1\nset = {\"1.a\" = 1}\n[[job]]\nname = \"a\"\n[[job]]\nname = \"b\"\nseed = 2\nset = {\"1.b\" = 2}\n",
    );
    assert_eq!(
        jobs.iter().map(|job| (job.name.as_deref(), &job.slots["seed"], job.set.len())).collect::<Vec<_>>(),
        [(Some("a"), &json!(1), 1), (Some("b"), &json!(2), 2)]
    );
}

#[test]
fn every_fault_is_told_in_every_format_with_its_place() {
    assert_eq!(
        told(Format::Json, "[{\"priority\": \"x\",\n  \"hold\": 1}, {\"name\": 5}]"),
        [
            "line 1, column 3: `priority` must be a whole number, 0 being usual, not the text \"x\"",
            "line 2, column 3: `hold` must be true or false, not the number 1",
            "line 2, column 16: `name` must be a text, \"…\", not the number 5",
        ]
    );
    assert_eq!(
        told(Format::JsonLines, "{\"seed\": 1}\n\n  {\"a\": }\n{\"b\" 1}"),
        ["line 3, column 9: not JSON: expected value", "line 4, column 6: not JSON: expected `:`"]
    );
    assert_eq!(
        told(Format::JsonLines, "{\"seed\": 1}\n  {\"name\": 5}")[0],
        "line 2, column 4: `name` must be a text, \"…\", not the number 5"
    );
    assert_eq!(
        told(Format::Toml, "workflow = \"w\"\n[[job]]\nname = 5\n[[job]]\n[job.set]\nab = 1\n"),
        [
            "line 3, column 1: `name` must be a text, \"…\", not the number 5",
            "line 6, column 1: `ab` names no input: write node id (or title), dot, input, as in \"14.cfg\"",
        ]
    );
    assert!(told(Format::Toml, "a = 1\nb = \nc = 2\n")[0].starts_with("line 2, column "));
    assert_eq!(
        told(Format::Csv, "name,priority,hold\na,1,true\n\"b\nb\",x,true\nc,1,maybe\nd,1,true,more\n"),
        [
            "line 4, column 4: `priority` must be a whole number, 0 being usual, not the text \"x\"",
            "line 5, column 5: `hold` must be true or false, not the text \"maybe\"",
            "line 6, column 10: the row has 4 cells and the header 3: a text with the separator in it stands in \"…\"",
        ]
    );
    assert_eq!(
        told(Format::Csv, "name,priority\n\"b\nb\",x\n")[0],
        "line 3, column 4: `priority` must be a whole number, 0 being usual, not the text \"x\""
    );
    assert!(told(Format::Csv, "name,name\na,b\n")[0].contains("twice"));
    assert!(told(Format::Csv, "name,seed\n")[0].contains("no rows"));
}

#[test]
fn a_sweep_is_every_combination_in_one_group() {
    let jobs = all(
        Format::Json,
        r#"{"workflow": "w", "prompt": "x", "sweep": {"length": [65, 129], "14.cfg": [1, 2]}, "seed": [7, "random"], "repeat": 2}"#,
    );
    assert_eq!(jobs.len(), 16);
    let variant = |at: usize| jobs[at].variant.clone().expect("one of several");
    assert_eq!((variant(0).number, variant(15).number, variant(3).of), (1, 16, 16));
    assert_eq!(Value::Object(variant(3).values), json!({"length": 65, "14.cfg": 1, "seed": "random", "repeat": 2}));
    assert_eq!(
        (&jobs[3].slots["length"], &jobs[3].set["14.cfg"], &jobs[3].slots["seed"]),
        (&json!(65), &json!(1), &json!("random"))
    );
    assert_eq!(Value::Object(variant(15).values), json!({"length": 129, "14.cfg": 2, "seed": "random", "repeat": 2}));
    let workflows = all(Format::Json, r#"{"sweep": {"workflow": ["a", "b"]}, "seed": 1}"#);
    assert_eq!(workflows[1].workflow, Source::Named(Some("b".into())));
    assert!(one(r#"{"workflow": "w", "repeat": 1}"#).variant.is_none());
}

#[test]
fn a_sweep_that_is_none_says_why() {
    for (text, words) in [
        (r#"{"sweep": {}}"#, "`sweep` is empty"),
        (r#"{"sweep": [1]}"#, "an object of lists"),
        (r#"{"sweep": {"seed": 1}}"#, "must be a list of values, not the number 1"),
        (r#"{"sweep": {"seed": []}}"#, "is an empty list"),
        (r#"{"sweep": {"priority": [1]}}"#, "is no slot"),
        (r#"{"seed": 1, "sweep": {"seed": [1]}}"#, "beside it"),
        (r#"{"seed": [], "a": 1}"#, "empty list"),
        (r#"{"repeat": 0}"#, "between 1 and 1000"),
        (r#"{"repeat": 600, "seed": [1, 2]}"#, "1200 jobs in one file; at most 1000"),
    ] {
        assert!(told(Format::Json, text)[0].contains(words), "{text}: {:?}", told(Format::Json, text));
    }
}

#[test]
fn the_body_of_a_post_is_a_job() {
    let job = one(
        r#"{"prompt": {"3": {"class_type": "SaveImage", "inputs": {}}}, "client_id": "x", "extra_data": {"extra_pnginfo": {"workflow": {}}}, "name": "n"}"#,
    );
    assert!(matches!(job.workflow, Source::Graph(graph) if graph.contains_key("3")));
    assert_eq!((job.name.as_deref(), job.slots.len()), (Some("n"), 0));
    assert_eq!(job.extra_data, json!({"extra_pnginfo": {"workflow": {}}}).as_object().cloned());
    let text = one(r#"{"workflow": "w", "prompt": "words"}"#);
    assert_eq!(text.slots["prompt"], "words");
}

#[test]
fn jobs_to_wait_for_go_by_name_or_number() {
    assert_eq!(one(r#"{"workflow": "w", "after": "a"}"#).after, ["a"]);
    assert_eq!(one(r#"{"workflow": "w", "after": ["a", 12]}"#).after, ["a", "#12"]);
    assert!(error(r#"{"after": [true]}"#).message.contains("name or number"));
}

#[test]
fn endings_tell_the_format() {
    for (name, format, stem) in [
        ("a.b.JSON", Some(Format::Json), "a.b"),
        ("x.ndjson", Some(Format::JsonLines), "x"),
        ("x.tsv", Some(Format::Csv), "x"),
        ("x.toml", Some(Format::Toml), "x"),
        ("x.png", None, "x.png"),
    ] {
        assert_eq!((Format::of(name), Format::stem(name)), (format, stem));
    }
}

#[test]
fn jobs_that_are_copies_are_weighed_before_they_are_made() {
    let long = "x".repeat(100_000);
    let refused = |text: String| parse(Format::Json, text.as_bytes()).expect_err("refused").remove(0).message;
    let repeat = refused(format!(r#"{{"workflow": "w", "prompt": "{long}", "repeat": 1000}}"#));
    assert!(repeat.starts_with("its 1000 jobs take 97 MB together; at most 8 MB are taken"), "{repeat}");
    let tags = vec!["\"a\""; 100_000].join(",");
    assert!(
        refused(format!(r#"{{"tags": [{tags}], "sweep": {{"seed": [{}1]}}}}"#, "1,".repeat(99))).contains("together")
    );
    let swept = vec![format!("\"{long}\""); 30].join(",");
    assert!(refused(format!(r#"{{"sweep": {{"a": [{swept}], "b": [1, 2, 3, 4]}}}}"#)).contains("its 120 jobs"));
    // the tries are made one by one, and take time
    let vary = r#""until": {"ssim": 0.9, "vary": {"length": [1, 2, 3, 4, 5], "a": [1, 2, 3, 4, 5]}}"#;
    let tried = refused(format!(r#"{{"prompt": "{long}", {vary}, "repeat": 120}}"#));
    assert!(tried.contains("`vary` tries"), "{tried}");
    // what is no copy is not weighed so
    let list = vec![format!(r#"{{"workflow": "w", "prompt": "{long}"}}"#); 40].join(",");
    assert_eq!(parse(Format::Json, format!("[{list}]").as_bytes()).expect("jobs").len(), 40);
    let head = format!("prompt = \"{long}\"\n{}", "[[job]]\n".repeat(300));
    let told = parse(Format::Toml, head.as_bytes()).expect_err("refused").remove(0).message;
    assert!(told.contains("before the first [[job]]"), "{told}");
}

#[test]
fn of_many_faults_the_first_hundred_are_told_and_that_there_are_more() {
    let bad = (0..50_000).map(|n| format!("\"{n}\": 1")).collect::<Vec<_>>().join(",");
    let json = format!(r#"{{"workflow": "w", "set": {{{bad}}}}}"#);
    let lines = "5\n".repeat(50_000);
    let columns = format!("{}\n1\n", vec!["a"; 50_000].join(","));
    let cells = format!("hold\n{}", "perhaps\n".repeat(50_000));
    for (format, file) in [
        (Format::Json, json),
        (Format::JsonLines, lines),
        (Format::Csv, columns),
        (Format::Csv, cells),
        (Format::Toml, "a\n".repeat(5000)),
    ] {
        let errors = parse(format, file.as_bytes()).expect_err("errors");
        assert!((MAX_ERRORS..MAX_ERRORS + 3).contains(&errors.len()), "{}: {}", format.name(), errors.len());
        let last = &errors.last().expect("one").message;
        assert!(last.starts_with("and more"), "{}: {last}", format.name());
    }
}

#[test]
fn a_column_for_each_of_many_slots_is_read_at_once() {
    let names = (0..100_000).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",");
    assert_eq!(parse(Format::Csv, format!("{names}\n1\n").as_bytes()).expect("a job").len(), 1);
}

#[test]
fn csv_as_spreadsheets_and_people_write_it() {
    let one = |text: &str| parse(Format::Csv, text.as_bytes()).expect("a job").remove(0);
    let told = |text: &str| parse(Format::Csv, text.as_bytes()).expect_err("an error").remove(0).to_string();
    let open = told("workflow,prompt\nw,one\nw,\"oops\nw,\"\"\nw,three\n");
    assert!(open.starts_with("line 3, column 3: this text begins with a quote that nothing closes"), "{open}");
    assert!(told("prompt\n\"a \"\"quote\"\" in it\n").starts_with("line 2, column 1: this text begins"));
    let well = one("prompt,note\n\"a \"\"quote\"\",\nin it\",5\" wide\n");
    assert_eq!((well.slots["prompt"].as_str(), well.note.as_deref()), (Some("a \"quote\",\nin it"), Some("5\" wide")));
    // cells that are missing at the end are empty ones
    assert_eq!(one("workflow,image,prompt\nw,a.png\n").slots.len(), 1);
    let sep = one("sep=;\r\nworkflow;image\r\nw;a,b.png\r\n");
    assert_eq!(sep.slots["image"], "a,b.png");
    assert_eq!(told("sep=;\nname;hold\na;perhaps\n").split(": ").next(), Some("line 3, column 3"));
    assert_eq!(one("workflow,image,,,\nw, a.png ,,,\n").slots["image"], "a.png");
    let named = one("Workflow,Name,SEED,Image\nw,n,5,a.png\n");
    assert_eq!((named.name.as_deref(), &named.slots["seed"]), (Some("n"), &json!(5)));
    assert_eq!(named.workflow, Source::Named(Some("w".into())));
    assert!(told("name,Name\na,b\n").contains("twice"));
}

#[test]
fn what_is_wrong_with_one_row_hides_nothing_of_the_others() {
    let told = |format, text: &str| parse(format, text.as_bytes()).expect_err("errors").len();
    assert_eq!(told(Format::Csv, "name,priority,hold\na,x,true\nb,1,maybe\nc,y,true\nd,1,,5\n"), 4);
    assert_eq!(told(Format::JsonLines, "{\"priority\": true}\n{\n{\"hold\": 1}\n"), 3);
}

#[test]
fn what_can_be_read_is_there_although_something_is_wrong() {
    let text = r#"[{"workflow": "w", "priority": "high", "set": {"nodot": 1, "1.cfg": 2}, "seed": 1, "seed": 2},
        {"workflow": 7, "note": ""},
        {"workflow": {"1": {"class_type": "A", "inputs": {}}}},
        {"prompt": {"1": {"class_type": "A", "inputs": {}}}},
        {"sweep": {"workflow": "w"}}]"#;
    let Reading { jobs, errors } = read(Format::Json, text.as_bytes());
    let places: Vec<_> = errors.iter().filter_map(|error| error.place).map(|at| (at.line, at.column)).collect();
    assert_eq!(places, [(1, 20), (1, 48), (1, 84), (2, 10), (2, 25), (5, 20)], "in the order of the file: {errors:?}");
    // of the second and the last nobody knows what it would render
    assert_eq!(jobs.iter().map(|job| job.origin.entry).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!((jobs[0].set.len(), &jobs[0].slots["seed"], jobs[0].origin.is_partial), (1, &json!(2), true));
    assert_eq!((jobs[1].origin.graph_under, jobs[2].origin.graph_under), (Some("workflow"), Some("prompt")));
    assert!(
        !jobs[1].origin.is_partial
            && !one(text.split('\n').nth(2).expect("a line").trim_end_matches(',')).origin.is_partial
    );
    let rows = read(Format::Csv, b"workflow,hold,image\nw,perhaps,a.png\n");
    assert_eq!((rows.jobs.len(), rows.errors.len(), &rows.jobs[0].slots["image"]), (1, 1, &json!("a.png")));
}

#[test]
fn what_several_jobs_share_is_wrong_once_and_hides_nothing() {
    let told = |format, text: &str| {
        let errors = parse(format, text.as_bytes()).expect_err("errors");
        errors.iter().map(|error| error.place.map_or((0, 0), |at| (at.line, at.column))).collect::<Vec<_>>()
    };
    let jobs = "[[job]]\nimage = \"a.png\"\n".repeat(120);
    assert_eq!(told(Format::Toml, &format!("priority = \"high\"\n{jobs}hold = 7\n")), [(1, 1), (242, 1)]);
    assert_eq!(told(Format::Toml, "hold = 7\n[[job]]\nnote = \"\"\n[[jobs]]\nx = 1\n"), [(1, 1), (3, 1), (4, 3)]);
    let until = r#"{"until": {"verdict": "loop", "tries": 0, "vary": {"length": []}, "ssim": 2, "best": 1}}"#;
    assert_eq!(told(Format::Json, until).len(), 5);
    let kept = read(Format::Json, br#"{"until": {"verdict": "loops", "tries": 0, "vary": {"lengh": [1], "fps": 3}}}"#);
    let Some(Until { vary: Varied::Lists(lists), tries: None, .. }) = &kept.jobs[0].until else {
        panic!("{:?}", kept.jobs)
    };
    assert_eq!((lists.len(), kept.errors.len()), (1, 2));
}

#[test]
fn what_was_meant_otherwise_is_told() {
    let message = |format, text: &str| parse(format, text.as_bytes()).expect_err("an error").remove(0).to_string();
    assert!(
        message(Format::Json, r#"{"prompt": {}}"#).starts_with("line 1, column 2: `prompt` is an object, and no graph")
    );
    assert!(matches!(one(r#"{"prompt": {"nodes": [], "links": []}}"#).workflow, Source::Page(_)));
    for text in ["name = \"x\"\n[job]\nseed = 1\n", "name = \"x\"\n[[jobs]]\nseed = 1\n", "name = \"x\"\n[jobs]\n"] {
        let told = message(Format::Toml, text);
        assert!(told.starts_with("line 2, ") && told.contains("begins with [[job]]"), "{told}");
    }
}

#[test]
fn a_swept_value_is_found_in_its_sweep() {
    for (format, file, at) in [
        (Format::Json, "{\"workflow\": \"w\",\n \"sweep\": {\"seed\": [1],\n  \"length\": [2]}}", place(3, 3)),
        (Format::Toml, "workflow = \"w\"\n[sweep]\nlength = [2]\n", place(3, 1)),
    ] {
        let places = Places::new(format, file.as_bytes());
        assert_eq!(places.error(0, &["length"], "").place, Some(at), "{}", format.name());
        assert_eq!(places.error(0, &["set", "length"], "").place, Some(at), "{}", format.name());
    }
    let nested = Places::new(Format::Json, b"{\"a\": 1,\n\"workflow\": {\"3\": 1}}");
    assert_eq!(nested.error(0, &["workflow", "4", "inputs"], "").place, Some(place(2, 1)), "what would hold it");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), cut in "[\\[\\]{}\":,a-z0-9 \n\\\\é]{0,80}") {
        for format in [Format::Json, Format::JsonLines, Format::Toml, Format::Csv] {
            let _ = (parse(format, &bytes), format.is_complete(&bytes), parse(format, cut.as_bytes()));
            let places = Places::new(format, cut.as_bytes());
            let _ = (places.error(0, &["a", "b"], "x"), places.error(1, &["a"], "x"));
        }
    }
}
