// Makes the calls described on stdin, one after another, and prints what came of each.
//
// Messages are bytes both ways, so that nothing here knows of Prism.

const fs = require("fs");
const grpc = require("@grpc/grpc-js");

const { address, calls } = JSON.parse(fs.readFileSync(0, "utf8"));
const bytes = (value) => value;

function metadataOf(pairs) {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(pairs || {})) metadata.add(name, value);
  return metadata;
}

function seen(status, replies) {
  const details = status.metadata ? status.metadata.get("grpc-status-details-bin") : [];
  return {
    code: status.code,
    message: status.details,
    details: details.map((detail) => detail.toString("base64")),
    replies: replies.map((reply) => reply.toString("base64")),
  };
}

function unary(client, call, options, metadata) {
  return new Promise((resolve) => {
    let reply = [];
    const [message] = call.messages.map((text) => Buffer.from(text, "base64"));
    const under = client.makeUnaryRequest(
      call.path, bytes, bytes, message, metadata, options,
      (error, value) => { if (!error) reply = [value]; },
    );
    under.on("status", (status) => setImmediate(() => resolve(seen(status, reply))));
    if (call.cancel_after_ms) setTimeout(() => under.cancel(), call.cancel_after_ms);
  });
}

function stream(client, call, options, metadata) {
  return new Promise((resolve) => {
    const replies = [];
    const under = client.makeBidiStreamRequest(call.path, bytes, bytes, metadata, options);
    under.on("data", (reply) => {
      replies.push(reply);
      if (replies.length === call.cancel_after_replies) under.cancel();
    });
    under.on("error", () => {});
    under.on("status", (status) => resolve(seen(status, replies)));
    for (const text of call.messages) under.write(Buffer.from(text, "base64"));
    under.end();
  });
}

async function main() {
  const results = {};
  for (const call of calls) {
    const channel = call.gzip ? { "grpc.default_compression_algorithm": 2 } : {};
    const client = new grpc.Client(address, grpc.credentials.createInsecure(), {
      "grpc.max_receive_message_length": -1, ...channel,
    });
    const options = call.timeout_ms ? { deadline: Date.now() + call.timeout_ms } : {};
    const make = call.stream ? stream : unary;
    results[call.name] = await make(client, call, options, metadataOf(call.metadata));
    client.close();
  }
  process.stdout.write(JSON.stringify(results));
}

main();
