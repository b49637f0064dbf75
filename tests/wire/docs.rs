//! docs/comfyui.md names tests; they must be there.

use std::path::Path;

#[test]
fn the_tests_that_the_docs_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_to_string(root.join("docs/comfyui.md")).unwrap();
    let sources: String = ["tests", "tests/wire", "src/comfy", "src/workflow"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let rows = docs.lines().filter(|line| line.starts_with('|') && line.contains('`'));
    let mut named = 0;
    for row in rows {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap();
        for name in last.split('`').skip(1).step_by(2).filter(|name| name.contains('_') && !name.contains("::")) {
            assert!(
                sources.contains(&format!("fn {name}(")),
                "docs/comfyui.md names `{name}`, and there is no such test"
            );
            named += 1;
        }
    }
    assert!(named > 60, "{named}");
    for trap in 1..=35 {
        assert!(docs.contains(&format!("\n| {trap} | ")), "trap {trap} is not in docs/comfyui.md");
    }
}
