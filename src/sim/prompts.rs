//! Graphs the simulator has itself: the Wan loop of recording 27 for its own tests, and the small
//! jobs of strangers that a scenario mixes in.
//!
//! Pure; no business of the product's own workflows, which live in `workflows/`.

use serde_json::{Value, json};

use super::graph::Prompt;

fn object(value: Value) -> Prompt {
    match value {
        Value::Object(map) => map,
        _ => Prompt::new(),
    }
}

/// The two-stage Wan 2.2 loop graph, with the node ids and links of recording 27.
pub fn wan_loop(seed: u64) -> Prompt {
    let unet = |noise: &str| {
        json!({"class_type": "UNETLoader", "inputs": {
        "unet_name": format!("wan2.2_i2v_{noise}_noise_14B_fp8_scaled.safetensors"), "weight_dtype": "default"}})
    };
    let lora = |noise: &str, model: &str| {
        json!({"class_type": "LoraLoaderModelOnly", "inputs": {
        "model": [model, 0], "strength_model": 1.0,
        "lora_name": format!("wan2.2_i2v_lightx2v_4steps_lora_v1_{noise}_noise.safetensors")}})
    };
    let shift = |model: &str| json!({"class_type": "ModelSamplingSD3", "inputs": {"model": [model, 0], "shift": 5.0}});
    let text = |text: &str| json!({"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["2", 0]}});
    let sampler = |model: &str, latent: Value, noise: &str, start: u64, end: u64, left: &str| {
        json!({"class_type": "KSamplerAdvanced", "inputs": {
            "model": [model, 0], "add_noise": noise, "noise_seed": seed, "steps": 4, "cfg": 1.0,
            "sampler_name": "euler", "scheduler": "simple", "positive": ["12", 0], "negative": ["12", 1],
            "latent_image": latent, "start_at_step": start, "end_at_step": end,
            "return_with_leftover_noise": left}})
    };
    object(json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "CLIPLoader", "inputs": {
            "clip_name": "umt5_xxl_fp8_e4m3fn_scaled.safetensors", "type": "wan", "device": "default"}},
        "3": {"class_type": "VAELoader", "inputs": {"vae_name": "wan_2.1_vae.safetensors"}},
        "4": unet("high"), "5": unet("low"),
        "6": lora("high", "4"), "7": lora("low", "5"),
        "8": shift("6"), "9": shift("7"),
        "10": text("anime style, turning a page"), "11": text("blurry"),
        "12": {"class_type": "WanFirstLastFrameToVideo", "inputs": {
            "positive": ["10", 0], "negative": ["11", 0], "vae": ["3", 0], "width": 480, "height": 848,
            "length": 129, "batch_size": 1, "start_image": ["1", 0], "end_image": ["1", 0]}},
        "13": sampler("8", json!(["12", 2]), "enable", 0, 2, "enable"),
        "14": sampler("9", json!(["13", 0]), "disable", 2, 4, "disable"),
        "15": {"class_type": "VAEDecode", "inputs": {"samples": ["14", 0], "vae": ["3", 0]}},
        "16": {"class_type": "CreateVideo", "inputs": {"images": ["15", 0], "fps": 16.0}},
        "17": {"class_type": "SaveVideo", "inputs": {
            "video": ["16", 0], "filename_prefix": "video/wan22", "format": "mp4", "codec": "h264"}},
    }))
}

/// A small picture, as somebody else's script would ask for it.
pub fn picture(seed: u64) -> Prompt {
    let text = |text: &str| json!({"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["11", 0]}});
    object(json!({
        "10": {"class_type": "UNETLoader", "inputs": {"unet_name": "tiny_unet.safetensors", "weight_dtype": "default"}},
        "11": {"class_type": "CLIPLoader", "inputs": {
            "clip_name": "tiny_clip.safetensors", "type": "stable_diffusion", "device": "default"}},
        "12": {"class_type": "VAELoader", "inputs": {"vae_name": "tiny_vae.safetensors"}},
        "13": text("a stranger's picture"), "14": text(""),
        "15": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "16": {"class_type": "KSampler", "inputs": {
            "model": ["10", 0], "seed": seed, "steps": 4, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal",
            "positive": ["13", 0], "negative": ["14", 0], "latent_image": ["15", 0], "denoise": 1.0}},
        "17": {"class_type": "VAEDecode", "inputs": {"samples": ["16", 0], "vae": ["12", 0]}},
        "18": {"class_type": "SaveImage", "inputs": {"images": ["17", 0], "filename_prefix": "stranger"}},
    }))
}
