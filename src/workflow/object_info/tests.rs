use super::read::DEEPEST;
use super::*;
use serde_json::json;

fn class(value: &Value) -> Class {
    let all = ObjectInfo::from_value(&json!({ "It": value }));
    all.class("It").expect("a class").clone()
}

fn input(spec: &Value) -> Input {
    class(&json!({"input": {"required": {"it": spec}}})).inputs.remove(0)
}

#[test]
fn inputs_come_in_the_order_of_the_page() {
    let it = class(&json!({
        "input": {"optional": {"c": ["MASK"]}, "required": {"b": ["INT", {}], "new": ["INT"], "a": ["IMAGE"]}, "hidden": {"prompt": "PROMPT"}},
        "input_order": {"required": ["a", "b"], "optional": ["c"]},
        "output": ["IMAGE", ["x"], "COMFY_MATCHTYPE_V3"], "output_name": ["picture"], "output_is_list": [true],
        "output_node": true,
    }));
    let names: Vec<_> = it.inputs.iter().map(|input| (input.name.as_str(), input.required)).collect();
    assert_eq!(names, [("a", true), ("b", true), ("new", true), ("c", false)]);
    assert_eq!(it.hidden, ["prompt"]);
    assert_eq!(it.outputs[0], Output { name: "picture".into(), kind: "IMAGE".into(), is_list: true, same_as: None });
    assert_eq!((it.outputs[1].kind.as_str(), it.outputs[2].kind.as_str()), ("COMBO", "*"));
    assert!(it.output_node && it.display_name == "It");
}

#[test]
fn both_ways_of_writing_a_combo_are_read() {
    for spec in
        [json!([["a", "b"], {"image_upload": true}]), json!(["COMBO", {"options": ["a", "b"], "image_upload": true}])]
    {
        let it = input(&spec);
        assert_eq!(it.kind, "COMBO");
        assert_eq!(it.upload, Some(Upload::Media));
        let options = vec![json!("a"), json!("b")];
        assert_eq!(it.widget(), Some(&Widget::Combo { options, many: false, remote: false, refresh: false }));
    }
}

#[test]
fn what_can_only_be_linked_has_no_widget() {
    assert_eq!(input(&json!(["INT", {"forceInput": true}])).form, Form::Link);
    assert_eq!(input(&json!(["INT,FLOAT", {}])).form, Form::Link);
    assert_eq!(input(&json!(["INT,FLOAT", {"widgetType": "FLOAT"}])).form, Form::Widget(Widget::Float));
    let matched =
        input(&json!(["COMFY_MATCHTYPE_V3", {"template": {"allowed_types": "IMAGE,MASK", "template_id": "t"}}]));
    assert_eq!((matched.kind.as_str(), matched.form), ("IMAGE,MASK", Form::Link));
    let old = class(&json!({"input": {"optional": {"seed": ["INT", {"defaultInput": true}]}}}));
    assert!(old.inputs[0].force_input);
}

#[test]
fn dynamic_combos_and_groups_hold_their_own_inputs() {
    let it = input(&json!(["COMFY_DYNAMICCOMBO_V3", {"options": [
        {"key": "big", "inputs": {"required": {"width": ["INT", {"default": 8}]}}}, {"key": "none"}, {"no": 1},
    ]}]));
    let Some(Widget::DynamicCombo(choices)) = it.widget() else { panic!("{it:?}") };
    assert_eq!(choices.iter().map(|c| (c.key.as_str(), c.inputs.len())).collect::<Vec<_>>(), [("big", 1), ("none", 0)]);

    let it = input(
        &json!(["COMFY_AUTOGROW_V3", {"template": {"input": {"required": {"image": ["IMAGE"]}}, "prefix": "image", "min": 2}}]),
    );
    let Form::Autogrow(group) = it.form else { panic!("{it:?}") };
    assert_eq!((group.min, group.max, group.round_of("image12"), group.round_of("image")), (2, 100, Some(12), None));
}

#[test]
fn nonsense_is_left_out_and_never_an_error() {
    let text = r#"{"A": {"input": {"required": {"x": 5, "y": [], "z": [null, 3], "seed": ["INT", {"min": "a", "control_after_generate": 1}]}, "optional": []},
        "input_order": 7, "output": "IMAGE", "output_name": {}}, "B": [], "C": {}}"#;
    let all = ObjectInfo::parse(text).expect("lenient");
    assert!(all.class("B").is_none() && all.class("C").is_some());
    let a = all.class("A").expect("a class");
    assert_eq!(a.inputs.len(), 4);
    assert_eq!(a.input("seed").map(|seed| seed.control), Some(Control::Yes));
    assert!(ObjectInfo::parse("[]").is_err() && ObjectInfo::parse("{} x").is_err());
}

#[test]
fn more_than_any_server_says_is_refused() {
    let list = |count: usize| format!("[{}0]", "0,".repeat(count));
    let one = |count: usize| format!(r#"{{"A": {{"input": {{"required": {{"x": [{}]}}}}}}}}"#, list(count));
    assert!(ObjectInfo::parse(&one(100_000)).is_ok());
    assert!(ObjectInfo::parse(&one(200_000)).is_err());
    let inputs: String = (0..900).map(|at| format!(r#""i{at}": 0,"#)).collect::<Vec<_>>().concat();
    let class = |at: usize| format!(r#""{at}": {{"input": {{"required": {{{inputs}"z": 0}}}}}}"#);
    let classes = |count: usize| format!("{{{}}}", (0..count).map(class).collect::<Vec<_>>().join(","));
    assert!(ObjectInfo::parse(&classes(100)).is_ok());
    let error = ObjectInfo::parse(&classes(120)).expect_err("too much").to_string();
    assert!(error.starts_with(TOO_MUCH), "{error}");
}

#[test]
fn a_combo_that_holds_itself_for_ever_ends() {
    let mut spec = json!(["INT"]);
    for _ in 0..60 {
        spec = json!(["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "k", "inputs": {"required": {"i": spec}}}]}]);
    }
    let mut deep = 0;
    let mut at = Some(input(&spec));
    while let Some(Input { form: Form::Widget(Widget::DynamicCombo(mut choices)), .. }) = at {
        deep += 1;
        at = choices.pop().and_then(|mut choice| choice.inputs.pop());
    }
    assert_eq!(deep, DEEPEST + 1);
}
