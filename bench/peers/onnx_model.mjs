/** A minimal ONNX writer: enough protobuf for one graph of nodes over f32 tensors. Field numbers are those of onnx.proto. */

function varint(value) {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(bytes);
}

const integer = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const bytes = (field, value) => {
  const data = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([varint((field << 3) | 2), varint(data.length), data]);
};
const message = (field, ...parts) => bytes(field, Buffer.concat(parts));
const float = (field, value) => {
  const data = Buffer.alloc(4);
  data.writeFloatLE(value);
  return Buffer.concat([varint((field << 3) | 5), data]);
};

const attributeType = { float: 1, int: 2, ints: 7 };

/** AttributeProto: an integer list, a number given as `{ float }`, or an integer. */
function attribute(name, value) {
  const head = bytes(1, name);
  if (Array.isArray(value))
    return message(5, head, ...value.map((v) => integer(8, v)), integer(20, attributeType.ints));
  if (typeof value === 'object') return message(5, head, float(2, value.float), integer(20, attributeType.float));
  return message(5, head, integer(3, value), integer(20, attributeType.int));
}

const elementType = { f32: 1, i64: 7 };

function tensor({ name, shape, data }) {
  const type = data instanceof BigInt64Array ? elementType.i64 : elementType.f32;
  const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return message(5, ...shape.map((size) => integer(1, size)), integer(2, type), bytes(8, name), bytes(9, raw));
}

/** ValueInfoProto of an f32 tensor. */
function valueInfo(field, { name, shape }) {
  const dimensions = shape.map((size) => message(1, integer(1, size)));
  return message(field, bytes(1, name), message(2, message(1, integer(1, elementType.f32), message(2, ...dimensions))));
}

/**
 * The bytes of a model. `nodes` are `{ op, inputs, outputs, attributes, domain }` in order; `inputs` and `outputs`
 * `{ name, shape }`; `constants` `{ name, shape, data }`.
 */
export function encodeModel({ nodes, inputs, outputs, constants = [] }) {
  const node = ({ op, inputs, outputs, attributes = {}, domain = '' }) =>
    message(
      1,
      ...inputs.map((name) => bytes(1, name)),
      ...outputs.map((name) => bytes(2, name)),
      bytes(4, op),
      ...Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      ...(domain ? [bytes(7, domain)] : []),
    );
  const graph = message(
    7,
    ...nodes.map(node),
    bytes(2, 'graph'),
    ...constants.map(tensor),
    ...inputs.map((value) => valueInfo(11, value)),
    ...outputs.map((value) => valueInfo(12, value)),
  );
  const opset = (domain, version) => message(8, bytes(1, domain), integer(2, version));
  return Buffer.concat([integer(1, 8), graph, opset('', 17), opset('com.microsoft', 1)]);
}
