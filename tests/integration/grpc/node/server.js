// A store in memory that speaks prism.v1, on the stock server of grpc-js: a peer for the client.
//
// Arguments: folders of the proto files; `unary` at the end leaves operation streams out.

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const folders = process.argv.slice(2).filter((each) => each !== "unary");
const definition = loader.loadSync("prism/v1/keyvalue.proto", {
  includeDirs: folders, longs: String, oneofs: true, arrays: true, keepCase: true,
});
const service = { ...grpc.loadPackageDefinition(definition).prism.v1.KeyValueService.service };
if (process.argv.includes("unary")) delete service.Operate;

const values = new Map();
const watches = new Set();
let version = 0;

const operations = {
  get: ({ key }) => (values.has(key) ? { entry: values.get(key) } : {}),
  exists: ({ key }) => ({ exists: values.has(key) }),
  set({ key, value }) {
    version += 1;
    values.set(key, { value, version: String(version) });
    for (const watch of watches) watch.write({ event: { type: 1, key, ...values.get(key) } });
    return { version: String(version) };
  },
  delete({ key }) {
    if (key === "refused") throw { code: grpc.status.PERMISSION_DENIED, message: "größer: nein" };
    return { existed: values.delete(key) };
  },
};

function unary(name) {
  return (call, answer) => {
    if (call.request.key === "never") return;
    try {
      answer(null, operations[name](call.request));
    } catch (error) {
      answer(error);
    }
  };
}

function operate(stream) {
  stream.on("data", (request) => {
    const outcomes = [];
    for (const operation of request.operations) {
      const name = Object.keys(operations).find((each) => operation[each]);
      if (operation[name].key === "never") continue;
      try {
        outcomes.push({ id: operation.id, [name]: operations[name](operation[name]) });
      } catch (error) {
        outcomes.push({ id: operation.id, error });
      }
    }
    if (outcomes.length) stream.write({ outcomes });
  });
  stream.on("end", () => stream.end());
  stream.on("error", () => {});
}

const handlers = {
  Get: unary("get"), Set: unary("set"), Delete: unary("delete"), Exists: unary("exists"),
  GetCapabilities: (call, answer) => answer(null, { driver: "node", driver_version: "1" }),
  Operate: operate,
  Watch(stream) {
    watches.add(stream);
    stream.on("cancelled", () => watches.delete(stream));
    stream.write({ started: {} });
  },
};
const implemented = Object.fromEntries(
  Object.entries(service).filter(([name]) => handlers[name]),
);
const server = new grpc.Server({ "grpc.max_receive_message_length": -1 });
server.addService(implemented, handlers);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
// A signal would end only the program that started Node.
process.stdin.on("end", () => process.exit(0)).resume();
