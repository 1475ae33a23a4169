// The matrices of lib/tile_product.wgsl as the GPU's own: 16 x 16, spread over a subgroup as the driver sees fit.
alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sum = subgroup_matrix_result<f32, 16, 16>;

fn load_left(at: u32) -> Left {
  if (LEFT_TRANSPOSED) { return subgroupMatrixLoad<Left, col_major>(&left_tile, at, LEFT_STRIDE); }
  return subgroupMatrixLoad<Left, row_major>(&left_tile, at, LEFT_STRIDE);
}
fn load_right(at: u32) -> Right {
  if (RIGHT_TRANSPOSED) { return subgroupMatrixLoad<Right, col_major>(&right_tile, at, RIGHT_STRIDE); }
  return subgroupMatrixLoad<Right, row_major>(&right_tile, at, RIGHT_STRIDE);
}
fn multiply(a: Left, b: Right, sum: Sum) -> Sum { return subgroupMatrixMultiplyAccumulate(a, b, sum); }
fn store_sum(at: u32, sum: Sum) { subgroupMatrixStore<row_major>(&sum_tile, at, sum, 16u); }
