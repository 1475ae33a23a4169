// Unit i of a, which is stored as f32.
fn load_a(i: u32) -> L { return a[i]; }
