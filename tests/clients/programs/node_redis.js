// node-redis: commands, pipelines, transactions, and scans, in RESP2 and RESP3.
const assert = require("node:assert");
const { createClient } = require("redis");

async function use(RESP) {
  const client = createClient({ url: `redis://127.0.0.1:${process.argv[2]}`, RESP });
  client.on("error", (error) => { throw error; });
  await client.connect();
  await client.flushDb();
  assert.equal(await client.set("a", "1", { expiration: { type: "EX", value: 100 } }), "OK");
  assert.equal(await client.set("a", "2", { condition: "NX" }), null);
  assert.equal(await client.get("a"), "1");
  assert.equal(await client.incrBy("n", 5), 5);
  await client.mSet({ x: "1", y: "2" });
  assert.deepEqual(await client.mGet(["x", "y", "z"]), ["1", "2", null]);
  await Promise.all([...Array(200).keys()].map((number) => client.set(`key:${number}`, String(number))));
  assert.deepEqual(await client.multi().set("t", "1").incr("t").exec(), ["OK", 2]);
  const found = new Set();
  for await (const keys of client.scanIterator({ MATCH: "key:*" })) keys.forEach((key) => found.add(key));
  assert.equal(found.size, 200);
  assert.equal(await client.del(["a", "x", "y"]), 3);
  await client.close();
}

use(2).then(() => use(3)).catch((error) => { console.error(error); process.exit(1); });
