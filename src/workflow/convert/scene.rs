//! What the page sends of its 3D views. Pictures of the scene it takes itself: those stay empty here. Where
//! the camera stands is known: as the graph has saved it, else where a new view has it.

use serde_json::{Map, Value, json};

/// Classes whose view shows a result; their value has a name of its own.
const VIEWPORTS: &[&str] = &[
    "Preview3DAdvanced",
    "PreviewGaussianSplat",
    "PreviewPointCloud",
    "Save3DAdvanced",
    "SaveGaussianSplat",
    "SavePointCloud",
];

/// Buttons of the 3D loader, which the page sends as if they were values.
pub(super) const BUTTONS: &[(&str, &str)] =
    &[("upload 3d model", "upload3dmodel"), ("upload extra resources", "uploadExtraResources"), ("clear", "clear")];

/// What the widget of a 3D view is called on a node of this class.
pub(super) fn widget_name(class: &str) -> &'static str {
    if VIEWPORTS.contains(&class) { "viewport_state" } else { "image" }
}

/// The value of a 3D view, `properties` being those of its node.
pub(super) fn view(properties: Option<&Map<String, Value>>) -> Value {
    json!({"image": "", "mask": "", "normal": "", "camera_info": camera(properties), "recording": "", "model_3d_info": []})
}

/// The same for the newer loader, which leaves the pictures to the server.
pub(super) fn viewport(properties: Option<&Map<String, Value>>) -> Value {
    json!({"camera_info": camera(properties), "model_3d_info": []})
}

fn camera(properties: Option<&Map<String, Value>>) -> Value {
    let mut camera = json!({
        "position": {"x": 10, "y": 10, "z": 10.000_000_000_000_002},
        "target": {"x": 0, "y": 0, "z": 0},
        "zoom": 1,
        "cameraType": "perspective",
        "quaternion": {
            "x": -0.279_848_142_333_121_3, "y": 0.364_705_199_631_000_8,
            "z": 0.115_916_895_959_295_11, "w": 0.880_476_239_217_149_3,
        },
        "fov": 35,
        "aspect": 1,
        "near": 0.01,
        "far": 10000,
        "frustum": {"left": -5, "right": 5, "top": 5, "bottom": -5},
    });
    let config = properties.and_then(|properties| properties.get("Camera Config"));
    let state = config.and_then(|config| config.get("state")).and_then(Value::as_object);
    if let (Some(camera), Some(state)) = (camera.as_object_mut(), state) {
        if !state.contains_key("quaternion")
            && let (Some(eye), Some(target)) = (point(state.get("position")), point(state.get("target")))
        {
            camera.insert("quaternion".to_owned(), looking(eye, target));
        }
        for (key, own) in camera.iter_mut() {
            if let Some(saved) = state.get(key).filter(|saved| !saved.is_null()) {
                own.clone_from(saved);
            }
        }
    }
    camera
}

fn point(value: Option<&Value>) -> Option<[f64; 3]> {
    let value = value?;
    let axis = |name: &str| value.get(name).and_then(Value::as_f64);
    Some([axis("x")?, axis("y")?, axis("z")?])
}

/// How a camera is turned that looks from `eye` to `target` with y upwards, as a quaternion (three.js,
/// `Matrix4.lookAt` and `Quaternion.setFromRotationMatrix`; Shepperd 1978).
fn looking(eye: [f64; 3], target: [f64; 3]) -> Value {
    let cross =
        |a: [f64; 3], b: [f64; 3]| [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let unit = |v: [f64; 3]| {
        let length = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
        if length > 0.0 { v.map(|part| part / length) } else { [0.0, 0.0, 1.0] }
    };
    let z = unit([eye[0] - target[0], eye[1] - target[1], eye[2] - target[2]]);
    let mut x = cross([0.0, 1.0, 0.0], z);
    if x.iter().all(|part| part.abs() < f64::MIN_POSITIVE) {
        // Straight up or down.
        x = cross([0.0, 1.0, 0.0], unit([z[0], z[1], z[2] + 0.0001]));
    }
    let x = unit(x);
    let y = cross(z, x);
    let (right, up, back) = (x[0], y[1], z[2]);
    let [qx, qy, qz, qw] = if right + up + back > 0.0 {
        let s = 0.5 / (right + up + back + 1.0).sqrt();
        [(y[2] - z[1]) * s, (z[0] - x[2]) * s, (x[1] - y[0]) * s, 0.25 / s]
    } else if right > up && right > back {
        let s = 2.0 * (1.0 + right - up - back).sqrt();
        [0.25 * s, (y[0] + x[1]) / s, (z[0] + x[2]) / s, (y[2] - z[1]) / s]
    } else if up > back {
        let s = 2.0 * (1.0 + up - right - back).sqrt();
        [(y[0] + x[1]) / s, 0.25 * s, (z[1] + y[2]) / s, (z[0] - x[2]) / s]
    } else {
        let s = 2.0 * (1.0 + back - right - up).sqrt();
        [(z[0] + x[2]) / s, (z[1] + y[2]) / s, 0.25 * s, (x[1] - y[0]) / s]
    };
    json!({"x": qx, "y": qy, "z": qz, "w": qw})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_without_a_turn_is_turned_to_its_target() {
        let properties = json!({"Camera Config": {"state": {
            "position": {"x": 10.049_667_607_333_248, "y": 6.823_366_613_701_951, "z": 9.365_484_268_189_384},
            "target": {"x": 0, "y": 1.413_305_056_603_319_6, "z": 0}, "zoom": 1, "cameraType": "perspective",
        }}});
        let view = view(properties.as_object());
        let turn = &view["camera_info"]["quaternion"];
        // What page 1.49.6 sends for it.
        for (axis, wanted) in [("x", -0.171_009_854), ("y", 0.391_897_301), ("z", 0.074_389_585), ("w", 0.900_909_721)]
        {
            assert!((turn[axis].as_f64().unwrap() - wanted).abs() < 1e-8, "{axis}: {turn}");
        }
        assert_eq!(view["camera_info"]["fov"], 35);
    }
}
