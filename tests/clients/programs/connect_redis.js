// connect-redis: sessions of express-session.
const assert = require("node:assert");
const { promisify } = require("node:util");
const { createClient } = require("redis");
const { RedisStore } = require("connect-redis");

async function main() {
  const client = createClient({ url: `redis://127.0.0.1:${process.argv[2]}` });
  await client.connect();
  const store = new RedisStore({ client, prefix: "sessions:", ttl: 100 });
  const call = (name) => promisify(store[name].bind(store));
  await call("clear")();
  await call("set")("one", { cookie: {}, visits: 1 });
  assert.deepEqual(await call("get")("one"), { cookie: {}, visits: 1 });
  await call("touch")("one", { cookie: {} });
  assert.equal(await call("length")(), 1);
  assert.deepEqual(await call("ids")(), ["one"]);
  await call("destroy")("one");
  assert.equal(await call("get")("one"), null);
  await client.close();
}

main().catch((error) => { console.error(error); process.exit(1); });
