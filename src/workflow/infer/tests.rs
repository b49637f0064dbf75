use super::super::Workflow;
use super::*;
use crate::workflow::slots::Also;
use serde_json::json;

mod numbers;

fn slots(value: Value) -> Vec<Slot> {
    let Value::Object(graph) = value else { panic!("an object") };
    infer(&graph)
}

fn places(slots: &[Slot]) -> Vec<(String, String)> {
    let inputs = |slot: &Slot| slot.inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    slots.iter().map(|slot| (slot.name.clone(), inputs(slot))).collect()
}

#[test]
fn the_built_in_workflows_are_understood_without_their_toml() {
    for (name, json, toml) in super::super::BUILT_IN {
        let declared = Workflow::parse(name, json, Some(toml)).expect("a workflow");
        let inferred = Workflow::parse(name, json, None).expect("a workflow");
        for slot in &declared.slots {
            let found = inferred.slots.iter().find(|found| found.name == slot.name);
            let found = found.unwrap_or_else(|| panic!("{name}: no {} in {:?}", slot.name, places(&inferred.slots)));
            let (mut a, mut b) = (slot.inputs.clone(), found.inputs.clone());
            a.sort();
            b.sort();
            assert_eq!((a, slot.kind, &slot.also), (b, found.kind, &found.also), "{name}: {}", slot.name);
        }
        let text = slots_toml("d", &inferred.slots);
        let again = Workflow::parse(name, json, Some(&text)).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(again.slots, inferred.slots);
    }
}

#[test]
fn prompts_are_traced_through_what_lies_between() {
    let found = slots(json!({
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": ["9", 0]}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "ugly"}},
        "3": {"class_type": "ControlNetApplyAdvanced", "inputs": {"positive": ["4", 0], "negative": ["2", 0]}},
        "4": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["1", 0], "guidance": 3.5}},
        "5": {"class_type": "KSampler", "inputs": {"positive": ["3", 0], "negative": ["3", 1], "seed": 1, "steps": 20, "cfg": 7}},
        "9": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a cat"}},
        "10": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}},
    }));
    assert_eq!(
        places(&found),
        [
            ("prompt", "9.value"),
            ("negative", "2.text"),
            ("seed", "5.seed"),
            ("steps", "5.steps"),
            ("cfg", "5.cfg"),
            ("prefix", "10.filename_prefix")
        ]
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
}

/// The slot `prompt` of a graph whose encoder takes its text from node 1.
fn prompt_of(more: &Value) -> Vec<(String, String)> {
    let mut graph = json!({
        "8": {"class_type": "CLIPTextEncode", "inputs": {"text": ["1", 0]}},
        "9": {"class_type": "KSampler", "inputs": {"positive": ["8", 0]}},
    });
    let nodes = more.as_object().expect("an object").clone();
    graph.as_object_mut().expect("an object").extend(nodes);
    places(&slots(graph))
}

fn prompts(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, at)| ((*name).to_owned(), (*at).to_owned())).collect()
}

#[test]
fn a_text_that_is_put_together_is_that_which_a_person_writes() {
    let trigger = prompt_of(&json!({
        "1": {"class_type": "StringConcatenate", "inputs": {"string_a": ["2", 0], "string_b": ["3", 0], "delimiter": ", "}},
        "2": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "in the style of x"}, "_meta": {"title": "Trigger Word"}},
        "3": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a cat"}, "_meta": {"title": "Prompt"}},
    }));
    assert_eq!(trigger, prompts(&[("prompt", "3.value")]));
    let beside = prompt_of(&json!({
        "1": {"class_type": "StringConcatenate", "inputs": {"string_a": "relight,", "string_b": ["3", 0]}},
        "3": {"class_type": "PrimitiveString", "inputs": {"value": "a cat"}},
    }));
    assert_eq!(beside, prompts(&[("prompt", "3.value")]));
    let both = prompt_of(&json!({
        "1": {"class_type": "StringConcatenate", "inputs": {"string_a": "a cat", "string_b": "of candy"}},
    }));
    assert_eq!(both, prompts(&[("prompt", "1.string_a"), ("prompt_2", "1.string_b")]));
}

#[test]
fn a_text_that_another_node_may_rewrite_is_the_one_before() {
    let refined = prompt_of(&json!({
        "1": {"class_type": "ComfySwitchNode", "inputs": {"on_true": ["2", 0], "on_false": ["4", 0], "switch": false}},
        "2": {"class_type": "TextGenerate", "inputs": {"prompt": ["3", 0]}},
        "3": {"class_type": "StringConcatenate", "inputs": {"string_a": "You are a helpful assistant.", "string_b": ["4", 0]}},
        "4": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a cat"}},
    }));
    assert_eq!(refined, prompts(&[("prompt", "4.value")]));
    let always = prompt_of(&json!({
        "1": {"class_type": "RegexReplace", "inputs": {"string": ["2", 0], "regex_pattern": "x", "replace": "y"}},
        "2": {"class_type": "TextGenerate", "inputs": {"prompt": "a cat"}},
    }));
    assert_eq!(always, prompts(&[("prompt", "2.prompt")]));
}

#[test]
fn a_service_that_does_all_the_work_has_a_prompt_too() {
    let found = slots(json!({
        "1": {"class_type": "SomeVideoNode", "inputs": {"prompt": "a cat", "seed": ["2", 0]}},
        "2": {"class_type": "PrimitiveInt", "inputs": {"value": 5}},
        "3": {"class_type": "OtherVideoNode", "inputs": {"model": "x", "model.prompt": "a dog"}},
    }));
    let wanted = [("prompt", "1.prompt"), ("prompt_2", "3.model.prompt"), ("seed", "2.value")];
    assert_eq!(places(&found), prompts(&wanted));
}

#[test]
fn a_negative_that_is_zeroed_out_is_none() {
    let found = slots(json!({
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
        "2": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["1", 0]}},
        "3": {"class_type": "CFGGuider", "inputs": {"positive": ["1", 0], "negative": ["2", 0], "cfg": 1.0}},
        "4": {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}},
    }));
    assert_eq!(places(&found).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["prompt", "seed", "cfg"]);
}

#[test]
fn two_pictures_go_by_what_they_are_for_and_titles_help_where_nothing_is_wired() {
    let found = slots(json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "b.png"}},
        "3": {"class_type": "WanFirstLastFrameToVideo", "inputs": {"start_image": ["1", 0], "end_image": ["2", 0], "width": 480, "height": 832, "length": 81}},
        "4": {"class_type": "Odd", "inputs": {"text": "x"}, "_meta": {"title": "Negative Prompt"}},
        "5": {"class_type": "Odd", "inputs": {"text": "y"}, "_meta": {"title": "Prompt"}},
    }));
    let names: Vec<_> = found.iter().map(|slot| slot.name.as_str()).collect();
    assert_eq!(names, ["start_image", "end_image", "prompt", "negative", "width", "height", "length"]);
}

#[test]
fn links_in_a_circle_end() {
    let found = slots(json!({
        "1": {"class_type": "A", "inputs": {"positive": ["2", 0], "text": ["1", 0], "seed": ["1", 0]}},
        "2": {"class_type": "B", "inputs": {"conditioning": ["1", 0], "value": ["2", 0]}},
    }));
    assert!(found.is_empty(), "{found:?}");
}
