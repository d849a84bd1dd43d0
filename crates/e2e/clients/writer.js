// An application with ioredis, which writes to a cluster: `writer.js PREFIX PORTS TAGS`, until its input ends.
//
// Prints a line for each write: `ok N`, or `failed N` and the error. What fails is not tried again here, only by the library.

const { Cluster } = require("ioredis");

const [prefix, ports, words] = process.argv.slice(2);
const tags = words.split(",");
const nodes = ports.split(",").map((port) => ({ host: "127.0.0.1", port: Number(port) }));
const cluster = new Cluster(nodes);
// Without a listener each lost connection is printed.
cluster.on("error", () => {});

let isEnded = false;
process.stdin.on("end", () => (isEnded = true)).resume();

async function write() {
  for (let number = 0; !isEnded; number++) {
    const key = `{${tags[number % tags.length]}}:${prefix}:${number}`;
    try {
      await cluster.set(key, number);
      console.log(`ok ${number}`);
    } catch (error) {
      console.log(`failed ${number} ${String(error).replaceAll("\n", " ")}`);
    }
  }
  cluster.disconnect();
}

write();
