use super::*;
use serde_json::json;

fn info() -> ObjectInfo {
    ObjectInfo::from_value(&json!({
        "KSampler": {"input": {"required": {"model": ["MODEL"], "seed": ["INT", {"min": 0, "max": 100}],
            "cfg": ["FLOAT", {"min": 0.0, "max": 100.0}], "sampler_name": [["euler", "heun"]], "latent_image": ["LATENT"]}},
            "output": ["LATENT"], "python_module": "nodes"},
        "UNETLoader": {"input": {"required": {"unet_name": [["wan/high.safetensors", "flux.safetensors"]]}},
            "output": ["MODEL"], "python_module": "nodes"},
        "LoadImage": {"input": {"required": {"image": [["a.png"], {"image_upload": true}]}}, "output": ["IMAGE", "MASK"]},
        "VAEDecode": {"input": {"required": {"samples": ["LATENT"]}}, "output": ["IMAGE"]},
        "SaveImage": {"input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING"]}}, "output": [],
            "output_node": true},
        "Loader": {"input": {"required": {"latent": [["a.latent"]], "far": [["a"], {"remote": {"route": "/x"}}]}},
            "output": ["IMAGE"], "python_module": "nodes"},
        "Empty": {"input": {"required": {"pick": [[]]}}, "output": ["IMAGE"], "python_module": "custom_nodes.x"},
    }))
}

fn graph(value: Value) -> Graph {
    let Value::Object(graph) = value else { panic!("an object") };
    graph
}

fn good() -> Value {
    json!({
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux.safetensors"}},
        "2": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "seed": 1, "cfg": 1, "sampler_name": "euler",
            "latent_image": ["2b", 0]}},
        "2b": {"class_type": "Latents", "inputs": {}},
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0]}, "_meta": {"title": "Decode"}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
    })
}

fn faults(value: Value) -> Vec<String> {
    let graph = graph(value);
    check(&graph, &info(), &HashSet::new(), &packs(&graph, None)).iter().map(ToString::to_string).collect()
}

#[test]
fn everything_is_told_at_once_and_by_title() {
    let mut value = good();
    value["1"]["inputs"]["unet_name"] = json!("high.safetensors");
    value["2"]["inputs"]["seed"] = json!(-3);
    value["2"]["inputs"]["sampler_name"] = json!("eular");
    value["2"]["inputs"].as_object_mut().expect("inputs").remove("cfg");
    value["2b"]["properties"] = json!({"cnr_id": "comfyui-latents"});
    value["3"]["inputs"]["samples"] = json!(["1", 0]);
    value["4"]["inputs"]["images"] = json!(["3", 7]);
    // looked at from the outputs: make the sampler lead to one
    value["5"] = json!({"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "y"}});
    value["6"] = json!({"class_type": "VAEDecode", "inputs": {"samples": ["2", 0]}});
    assert_eq!(
        faults(value),
        [
            "Latents (2b): the server has no node `Latents`; `comfyui-latents` brings it",
            "UNETLoader (1): `unet_name` is the text \"high.safetensors\", which the server does not have (did you mean \
             `wan/high.safetensors`?); it has wan/high.safetensors, flux.safetensors",
            "KSampler (2): `seed` must be from 0 to 100, not the number -3",
            "KSampler (2): `cfg` is missing: it takes a number",
            "KSampler (2): `sampler_name` must be one of euler, heun, not the text \"eular\" (did you mean `euler`?)",
            "Decode (3): `samples` takes LATENT, and gets MODEL from UNETLoader (1)",
            "SaveImage (4): `images` comes from an output that Decode (3) does not have: it has one, counted from 0",
        ]
    );
}

/// People write the names of models in many ways, and long ones.
#[test]
fn a_model_that_is_missing_is_named_and_the_one_that_was_meant() {
    let listed = [
        "flux/dev.safetensors",
        "wan/wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
        "wan/wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors",
        "wan/wan2.2_vae.safetensors",
    ];
    let options: Vec<Value> = listed.iter().map(|name| json!(name)).collect();
    for (asked, meant) in [
        ("wan2.2_high.safetensors", Some(1)),
        ("Wan2_2-I2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors", Some(2)),
        ("vae-wan2.2.safetensors", Some(3)),
        ("ltx-2.3-distilled.safetensors", None),
    ] {
        let words = one_of(&options, &json!(asked), true).expect("missing");
        assert!(words.starts_with(&format!("is the text \"{asked}\", which the server does not have")), "{words}");
        let hint = meant.map_or(String::new(), |at| format!(" (did you mean `{}`?)", listed[at]));
        assert!(words.contains(&format!("have{hint}; it has")), "{asked}: {words}");
    }
}

#[test]
fn where_the_server_is_lenient_nothing_is_said() {
    let value = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "not-listed.png", "more": 1}},
        "2": {"class_type": "Empty", "inputs": {"pick": "made in the page"}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": 5}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": ["1", 0]}},
        // leads to no output
        "5": {"class_type": "KSampler", "inputs": {}},
    });
    let listed = json!({
        "1": {"class_type": "Loader", "inputs": {"latent": "b.latent [output]", "far": "b"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    });
    assert!(faults(listed).is_empty());
    let told = faults(value);
    assert_eq!(told, ["SaveImage (4): `filename_prefix` takes STRING, and gets IMAGE from LoadImage (1)"]);
}

#[test]
fn where_only_a_link_can_stand_a_value_is_told() {
    let told = |value: Value| {
        let mut graph = good();
        graph.as_object_mut().expect("a graph").remove("2b");
        graph["2"]["inputs"]["latent_image"] = json!(["2", 0]);
        graph["3"]["inputs"]["samples"] = value;
        faults(graph)
    };
    assert_eq!(
        told(json!("latent"))[0],
        "Decode (3): `samples` takes a link from an output of type LATENT, not the text \"latent\": a link is the id of a \
         node, a text, and the number of its output, [\"4\", 0]"
    );
    for wrong in [json!(null), json!({}), json!(5)] {
        assert!(told(wrong.clone())[0].contains("takes a link from an output of type LATENT"), "{wrong}");
    }
    for wrong in [json!([2, 0]), json!(["2", "0"]), json!(["2"]), json!(["2", true]), json!(["2", 0, 0])] {
        assert!(told(wrong.clone())[0].contains(&format!("is written {wrong}: a link is")), "{wrong}");
    }
}

#[test]
fn a_link_to_nothing_hides_no_other_fault() {
    let mut value = good();
    value["2"]["inputs"]["latent_image"] = json!(["77", 0]);
    value["2"]["inputs"]["seed"] = json!(-5);
    value.as_object_mut().expect("a graph").remove("2b");
    let graph = graph(value);
    let told = check(&graph, &info(), &HashSet::new(), &HashMap::new());
    assert_eq!(told.iter().map(|fault| fault.is_loose).collect::<Vec<_>>(), [false, true], "{told:?}");
}

#[test]
fn no_output_and_a_circle() {
    assert!(faults(json!({"1": {"class_type": "LoadImage", "inputs": {"image": "a"}}}))[0].contains("saves or shows"));
    let told = faults(json!({
        "1": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0]}},
        "2": {"class_type": "KSampler", "inputs": {"model": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": ""}},
    }));
    assert_eq!(told[0], "VAEDecode (1): it waits for itself: VAEDecode (1) ← KSampler (2) ← VAEDecode (1)");
}

#[test]
fn an_output_without_a_link_is_left_out_where_there_is_another() {
    let mut value = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    });
    assert!(faults(value.clone()).is_empty());
    value.as_object_mut().expect("a graph").remove("3");
    assert_eq!(faults(value), ["SaveImage (2): `images` is missing: it takes a link of IMAGE"]);
}

#[test]
fn a_very_long_chain_costs_no_stack() {
    let mut graph = Graph::new();
    for at in 0..10_000 {
        let node = json!({"class_type": "VAEDecode", "inputs": {"samples": [(at + 1).to_string(), 0]}});
        graph.insert(at.to_string(), node);
    }
    graph.insert("10000".to_owned(), json!({"class_type": "LoadImage", "inputs": {"image": "a"}}));
    graph.insert(
        "end".to_owned(),
        json!({"class_type": "SaveImage", "inputs": {"images": ["0", 0], "filename_prefix": ""}}),
    );
    assert!(check(&graph, &info(), &HashSet::new(), &HashMap::new()).len() <= MOST + 1);
}

#[test]
fn of_many_faults_the_first_hundred_are_told_and_that_there_are_more() {
    let graph = |count: usize| {
        let node = |id: usize| (id.to_string(), json!({"class_type": format!("None{id}"), "inputs": {}}));
        (0..count).map(node).collect::<Map<_, _>>()
    };
    let told = |count| check(&graph(count), &info(), &HashSet::new(), &HashMap::new());
    assert_eq!((told(99).len(), told(100).len(), told(101).len(), told(500).len()), (99, 100, 101, 101));
    assert!(told(500).last().is_some_and(|last| last.words.starts_with("and more") && last.node.is_none()));
}
