// ioredis: commands, pipelines, transactions, automatic pipelining, and scans.
const assert = require("node:assert");
const { Redis } = require("ioredis");

async function main() {
  const client = new Redis({ port: Number(process.argv[2]), enableAutoPipelining: true });
  await client.flushdb();
  assert.equal(await client.set("a", "1", "EX", 100, "NX"), "OK");
  assert.equal(await client.set("a", "2", "NX"), null);
  assert.equal(await client.get("a"), "1");
  assert.equal(await client.incrby("n", 5), 5);
  await client.mset({ x: "1", y: "2" });
  assert.deepEqual(await client.mget("x", "y", "z"), ["1", "2", null]);
  const numbers = [...Array(500).keys()];
  await Promise.all(numbers.map((number) => client.set(`key:${number}`, number)));
  const pipeline = client.pipeline();
  for (const number of numbers) pipeline.get(`key:${number}`);
  assert.deepEqual(await pipeline.exec(), numbers.map((number) => [null, String(number)]));
  assert.deepEqual(await client.multi().set("t", 1).incr("t").exec(), [[null, "OK"], [null, 2]]);
  const found = new Set();
  for await (const keys of client.scanStream({ match: "key:*", count: 100 })) keys.forEach((key) => found.add(key));
  assert.equal(found.size, 500);
  assert.deepEqual(await client.getBuffer("a"), Buffer.from("1"));
  await client.quit();
}

main().catch((error) => { console.error(error); process.exit(1); });
