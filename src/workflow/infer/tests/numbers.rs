//! Numbers that come from elsewhere: through switches, expressions and resized pictures.

use super::*;

/// Slots of a graph of these nodes, with their places.
fn found(graph: Value) -> Vec<(String, String)> {
    places(&slots(graph))
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, at)| ((*name).to_owned(), (*at).to_owned())).collect()
}

/// Two samplers that share the steps; all that changes with a quick `LoRA` goes through switches.
fn quick(on: &Value) -> Value {
    json!({
        "1": {"class_type": "PrimitiveBoolean", "inputs": {"value": on}, "_meta": {"title": "Quick?"}},
        "2": {"class_type": "PrimitiveInt", "inputs": {"value": 20}, "_meta": {"title": "Steps"}},
        "3": {"class_type": "PrimitiveInt", "inputs": {"value": 4}, "_meta": {"title": "Quick steps"}},
        "4": {"class_type": "ComfySwitchNode", "inputs": {"switch": ["1", 0], "on_false": ["2", 0], "on_true": ["3", 0]}},
        "5": {"class_type": "PrimitiveInt", "inputs": {"value": 10}},
        "6": {"class_type": "ComfySwitchNode", "inputs": {"switch": ["1", 0], "on_false": ["5", 0], "on_true": 2}},
        "7": {"class_type": "ComfySwitchNode", "inputs": {"switch": ["1", 0], "on_false": 3.5, "on_true": 1.0}},
        "8": {"class_type": "KSamplerAdvanced", "inputs": {"steps": ["4", 0], "cfg": ["7", 0], "start_at_step": 0, "end_at_step": ["6", 0]}},
        "9": {"class_type": "KSamplerAdvanced", "inputs": {"steps": ["4", 0], "cfg": ["7", 0], "start_at_step": ["6", 0], "end_at_step": ["4", 0], "latent_image": ["8", 0]}},
    })
}

#[test]
fn a_switch_leads_to_the_branch_that_it_takes_now() {
    assert_eq!(found(quick(&json!(false))), pairs(&[("steps", "2.value"), ("cfg", "7.on_false")]));
    let slow = slots(quick(&json!(false)));
    assert_eq!(slow[0].description, "steps of the sampler, while Quick? is false (Steps)");
    assert_eq!(slow[0].also, [Also { input: InputRef::new("5", "value"), times: 0.5, plus: 0.0 }]);
    assert_eq!(found(quick(&json!(true))), pairs(&[("steps", "3.value"), ("cfg", "7.on_true")]));
    let quick = slots(quick(&json!(true)));
    assert_eq!(quick[0].also, [Also { input: InputRef::new("6", "on_true"), times: 0.5, plus: 0.0 }]);
}

#[test]
fn a_switch_by_number_does_too_and_where_nobody_can_say_nothing_is_set() {
    let by = |select: Value| {
        found(json!({
            "1": {"class_type": "ImpactSwitch", "inputs": {"select": select, "input1": 20, "input2": ["2", 0]}},
            "2": {"class_type": "PrimitiveInt", "inputs": {"value": 8}},
            "3": {"class_type": "KSampler", "inputs": {"steps": ["1", 0]}},
            "4": {"class_type": "Odd", "inputs": {"x": 1}},
        }))
    };
    assert_eq!(by(json!(1)), pairs(&[("steps", "1.input1")]));
    assert_eq!(by(json!(2)), pairs(&[("steps", "2.value")]));
    assert_eq!(by(json!(["4", 0])), []);
    assert_eq!(by(json!(7)), []);
}

#[test]
fn what_no_switch_takes_has_no_numbers() {
    let graph = found(json!({
        "1": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768}},
        "2": {"class_type": "KSampler", "inputs": {"steps": 20, "cfg": 7, "latent_image": ["1", 0]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 1024}},
        "4": {"class_type": "KSampler", "inputs": {"steps": 4, "cfg": 1, "latent_image": ["3", 0]}},
        "5": {"class_type": "ComfySwitchNode", "inputs": {"switch": true, "on_false": ["2", 0], "on_true": ["4", 0]}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0]}},
    }));
    let wanted = [("width", "3.width"), ("height", "3.height"), ("steps", "4.steps"), ("cfg", "4.cfg")];
    assert_eq!(graph, pairs(&wanted));
}

#[test]
fn a_model_that_no_switch_takes_says_so() {
    let found = slots(json!({
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "a"}},
        "2": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "b", "strength_model": 1.0, "model": ["1", 0]}},
        "3": {"class_type": "ComfySwitchNode", "inputs": {"switch": false, "on_false": ["1", 0], "on_true": ["2", 0]}},
        "4": {"class_type": "KSampler", "inputs": {"model": ["3", 0]}},
    }));
    let words: Vec<_> = found.iter().map(|slot| slot.description.as_str()).collect();
    let left = ", which no switch takes as they stand (LoraLoaderModelOnly)";
    let wanted = [
        "a file on the server (UNETLoader)".to_owned(),
        format!("a file on the server{left}"),
        format!("its strength{left}"),
    ];
    assert_eq!(words, wanted);
}

/// The slots of a clip whose length and rate are made of what nodes 1 and 2 have.
fn clip(expression: &str, one: (&str, &str, f64), rate: &Value) -> Vec<Slot> {
    slots(json!({
        "1": {"class_type": one.0, "inputs": {"value": one.2}, "_meta": {"title": one.1}},
        "2": {"class_type": "PrimitiveFloat", "inputs": {"value": 16.0}},
        "3": {"class_type": "ComfyMathExpression", "inputs": {"expression": expression, "values.a": ["1", 0], "values.b": ["2", 0]}},
        "4": {"class_type": "WanImageToVideo", "inputs": {"width": 640, "height": 480, "length": ["3", 1]}},
        "5": {"class_type": "KSampler", "inputs": {"latent_image": ["4", 2]}},
        "6": {"class_type": "CreateVideo", "inputs": {"fps": rate}},
    }))
}

#[test]
fn a_length_that_is_made_of_seconds_is_a_duration() {
    let sized = [("width", "4.width"), ("height", "4.height")];
    let seconds = |found: &[Slot]| {
        let slot = found.iter().find(|slot| slot.name == "duration").expect("a duration");
        assert_eq!((slot.inputs.as_slice(), slot.kind), ([InputRef::new("1", "value")].as_slice(), SlotType::Float));
        assert!(found.iter().all(|slot| slot.name != "length"), "{found:?}");
    };
    // the other factor is known to be the rate
    let product = clip("floor (a * b + 1)", ("PrimitiveFloat", "x", 5.0), &json!(["2", 0]));
    seconds(&product);
    assert_eq!(places(&product)[3], pairs(&[("fps", "2.value")])[0]);
    // the rate is a part of the expression, and the title says that it is seconds
    seconds(&clip("a * 16 + 1", ("PrimitiveFloat", "Float (Duration)", 5.0), &json!(16)));
    // nobody can say which is which
    let neither = places(&clip("a * b", ("PrimitiveFloat", "x", 5.0), &json!(30)));
    assert_eq!(neither, [&pairs(&sized)[..], &pairs(&[("fps", "6.fps")])].concat());
    let odd = places(&clip("a * 16 + 1", ("PrimitiveFloat", "x", 5.0), &json!(16)));
    assert_eq!(odd, neither);
}

#[test]
fn seconds_and_rates_of_a_node_for_whole_numbers_are_whole() {
    let mut graph = json!({
        "1": {"class_type": "PrimitiveInt", "inputs": {"value": 5}},
        "2": {"class_type": "PrimitiveInt", "inputs": {"value": 25}},
        "3": {"class_type": "ComfyMathExpression", "inputs": {"expression": "a * b + 1", "values.a": ["1", 0], "values.b": ["2", 0]}},
        "4": {"class_type": "EmptyLTXVLatentVideo", "inputs": {"width": 640, "height": 480, "length": ["3", 1]}},
        "5": {"class_type": "KSampler", "inputs": {"latent_image": ["4", 0]}},
        "6": {"class_type": "CreateVideo", "inputs": {"fps": ["2", 0]}},
    });
    let kinds = |graph: &Value| {
        let slots = slots(graph.clone());
        slots[2..].iter().map(|slot| (slot.name.clone(), slot.kind)).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&graph), [("duration".to_owned(), SlotType::Int), ("fps".to_owned(), SlotType::Int)]);
    graph["2"]["class_type"] = json!("PrimitiveFloat");
    assert_eq!(kinds(&graph), [("duration".to_owned(), SlotType::Int), ("fps".to_owned(), SlotType::Float)]);
}

#[test]
fn a_cut_of_a_batch_is_no_length() {
    let found = found(json!({
        "1": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
        "2": {"class_type": "KSampler", "inputs": {"latent_image": ["1", 0]}},
        "3": {"class_type": "ImageFromBatch", "inputs": {"image": ["2", 0], "length": 1}},
    }));
    assert_eq!(found, pairs(&[("width", "1.width"), ("height", "1.height")]));
}

#[test]
fn an_expression_that_only_hands_on_is_passed() {
    for same in ["a", " (a) ", "int(a)", "round (float(a))"] {
        let found = places(&clip(same, ("PrimitiveInt", "x", 81.0), &json!(16)));
        assert_eq!(found[2], pairs(&[("length", "1.value")])[0], "{same}");
    }
    let long = format!("a{}", " ".repeat(400));
    for other in [&long, "a()", "-a", "(a)+(a)", "int(a", "abs(a)", ""] {
        let found = places(&clip(other, ("PrimitiveInt", "x", 81.0), &json!(16)));
        assert_eq!(found[2], pairs(&[("fps", "6.fps")])[0], "{other}");
    }
}

#[test]
fn the_size_is_what_reaches_the_latent_and_never_a_placeholder() {
    let mut graph = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 512, "height": 512}},
        "2": {"class_type": "PrimitiveInt", "inputs": {"value": 1280}},
        "3": {"class_type": "PrimitiveInt", "inputs": {"value": 720}},
        "4": {"class_type": "ComfyMathExpression", "inputs": {"expression": "a/2", "values.a": ["2", 0]}},
        "5": {"class_type": "ComfyMathExpression", "inputs": {"expression": "a/2", "values.a": ["3", 0]}},
        "6": {"class_type": "EmptyLTXVLatentVideo", "inputs": {"width": ["4", 1], "height": ["5", 1], "length": 97}},
        "7": {"class_type": "LTXVImgToVideoInplace", "inputs": {"image": ["1", 0], "latent": ["6", 0]}},
        "8": {"class_type": "LTXVConcatAVLatent", "inputs": {"video_latent": ["7", 0], "audio_latent": ["9", 0]}},
        "9": {"class_type": "LTXVEmptyLatentAudio", "inputs": {"frames_number": 97}},
        "10": {"class_type": "SamplerCustomAdvanced", "inputs": {"latent_image": ["8", 0]}},
    });
    let wanted = [("width", "2.value"), ("height", "3.value"), ("length", "6.length")];
    assert_eq!(found(graph.clone()), pairs(&wanted));
    let halved = slots(graph.clone()).remove(0);
    assert_eq!(halved.description, "pixels, of which the graph makes others (PrimitiveInt)");
    // a size that the graph takes from elsewhere is not there to be set
    graph["6"]["inputs"]["width"] = json!(["11", 0]);
    graph["6"]["inputs"]["height"] = json!(["11", 1]);
    graph["11"] = json!({"class_type": "ResolutionSelector", "inputs": {"megapixels": 1}});
    assert_eq!(found(graph), pairs(&wanted[2..]));
}

#[test]
fn the_size_of_a_picture_is_what_it_was_resized_to() {
    let mut graph = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "ResizeImageMaskNode", "inputs": {"resize_type": "scale dimensions", "resize_type.width": 720, "resize_type.height": ["3", 0], "input": ["1", 0]}},
        "3": {"class_type": "PrimitiveInt", "inputs": {"value": 1280}},
        "4": {"class_type": "GetImageSize", "inputs": {"image": ["2", 0]}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": ["4", 0], "height": ["4", 1]}},
        "6": {"class_type": "KSampler", "inputs": {"latent_image": ["5", 0]}},
    });
    let wanted = [("image", "1.image"), ("width", "2.resize_type.width"), ("height", "3.value")];
    assert_eq!(found(graph.clone()), pairs(&wanted));
    // the same where the picture itself is sampled
    graph["5"] = json!({"class_type": "VAEEncode", "inputs": {"pixels": ["2", 0]}});
    assert_eq!(found(graph.clone()), pairs(&wanted));
    // and a picture as it was loaded has the size that it has
    graph["5"]["inputs"]["pixels"] = json!(["1", 0]);
    assert_eq!(found(graph), pairs(&wanted[..1]));
}

#[test]
fn switches_and_expressions_in_a_circle_end() {
    let circle = json!({
        "1": {"class_type": "ComfySwitchNode", "inputs": {"switch": ["1", 0], "on_false": ["2", 0], "on_true": ["1", 0]}},
        "2": {"class_type": "ComfyMathExpression", "inputs": {"expression": "a + b", "a": ["1", 0], "b": ["2", 0]}},
        "3": {"class_type": "KSampler", "inputs": {"steps": ["1", 0], "cfg": ["2", 0], "latent_image": ["3", 0]}},
        "4": {"class_type": "GetImageSize", "inputs": {"image": ["5", 0]}},
        "5": {"class_type": "ImageInvert", "inputs": {"image": ["5", 0]}},
        "6": {"class_type": "EmptyLatentImage", "inputs": {"width": ["4", 0], "height": ["2", 0]}},
        "7": {"class_type": "KSampler", "inputs": {"latent_image": ["6", 0]}},
    });
    assert_eq!(found(circle), []);
}

#[test]
fn many_nodes_behind_the_same_expressions_are_no_hang() {
    let words: String = (0..90).map(|n| format!("a{n}")).collect::<Vec<_>>().join("+");
    let mut graph = Graph::new();
    let inputs = |n: usize| (0..90).map(|word| (format!("a{word}"), json!([format!("e{n}"), 0]))).collect::<Value>();
    for n in 0..20 {
        let mut inputs = inputs(n + 1);
        inputs["expression"] = json!(words.get(..300).expect("long"));
        graph.insert(format!("e{n}"), json!({"class_type": "Odd", "inputs": inputs}));
    }
    for n in 0..2_000 {
        let names =
            ["steps", "cfg", "fps", "frame_rate", "width", "height", "length", "frames", "latent_image", "seed"];
        let inputs: Value = names.iter().map(|name| ((*name).to_owned(), json!(["e0", 0]))).collect();
        graph.insert(n.to_string(), json!({"class_type": "Odd", "inputs": inputs}));
    }
    assert_eq!(infer(&graph), []);
}
