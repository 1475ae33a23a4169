// Unit `at` of the table, as it is stored.
fn load(at: u32) -> V { return table[at]; }
