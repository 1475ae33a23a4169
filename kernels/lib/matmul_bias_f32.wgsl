// Unit i of bias, which is stored as f32.
fn load_bias(i: u32) -> L { return bias[i]; }
