// The component of a README (the source in the second argument), clicked once; what it then shows, as JSON.
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { createElement, StrictMode } from "react";
import { create } from "react-test-renderer";
import ts from "typescript";

const { folder, question } = JSON.parse(process.argv[2]);
const options = { jsx: ts.JsxEmit.ReactJSX, module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 };
const file = `${folder}/example.mjs`;
writeFileSync(file, ts.transpileModule(process.argv[3], { compilerOptions: options }).outputText);
const { Ask } = await import(pathToFileURL(file).href);

// The only word of the test renderer is that it is deprecated.
console.error = () => undefined;
const root = create(createElement(StrictMode, null, createElement(Ask, { question })));
const shown = (type) => root.root.findAllByType(type).map(({ children }) => children.join(""));
const until = async (seen) => {
  while (!seen()) await new Promise((resolve) => setTimeout(resolve, 5));
};
await until(() => root.toJSON() !== null);
root.root.findByType("button").props.onClick();
await until(() => shown("button")[0] === "Stop");
await until(() => shown("button")[0] === "Ask");
console.log(JSON.stringify({ titles: shown("li"), paragraphs: shown("p") }));
root.unmount();
