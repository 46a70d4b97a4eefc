// Runs Python beside a page, which stays awake. Everything comes from the folder "python" of this site.
import { loadPyodide } from "./python/pyodide.mjs";

const here = new URL("./python/", import.meta.url);
const LIBRARIES = ["sympy.zip", "proofbook.zip"];

const unpacked = async (python, name) => {
  const reply = await fetch(new URL(name, here));
  if (!reply.ok) throw new Error(`${name} is not there (${reply.status})`);
  python.unpackArchive(await reply.arrayBuffer(), "zip");
};

const ready = (async () => {
  const python = await loadPyodide({ indexURL: here.href });
  await Promise.all(LIBRARIES.map((name) => unpacked(python, name)));
  return python.pyimport("proofbook.in_page").answered;
})();

onmessage = async ({ data: { id, before, cell } }) => {
  try {
    const answered = await ready;
    postMessage({ id, ...JSON.parse(answered(before, cell)) });
  } catch (error) {
    postMessage({ id, verdict: "error", text: `Python cannot run here: ${error.message}` });
  }
};
