// Unit i of b, which is stored as f32.
fn load_b(i: u32) -> L { return b[i]; }
