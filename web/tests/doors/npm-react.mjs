// @lorestream/react: what a component shows of an answer, stopped by its `stop`.
import { useAnswer } from "@lorestream/react";
import { createElement, StrictMode, useEffect } from "react";
import { create } from "react-test-renderer";

import { client, model, stopping, target, tell } from "./npm.mjs";

// The only word of the test renderer is that it is deprecated.
console.error = () => undefined;

let end;
const ended = new Promise((resolve) => (end = resolve));
let begun = false;
let stopped = false;

function Answer() {
  const answer = useAnswer(client);
  const { ask, stop, phase, text, error } = answer;
  useEffect(() => {
    if (!begun) ask(target.question, { model });
    begun = true;
  }, [ask]);
  useEffect(() => {
    if (target.stop && text && !stopped) {
      stopped = true;
      stopping();
      stop();
    }
    if (phase === "failed") end([answer, `${error.code}: ${error.message}`]);
    else if (phase === "done" || phase === "stopped") end([answer, phase]);
  }, [answer, stop, phase, text, error]);
  return null;
}

create(createElement(StrictMode, null, createElement(Answer)));
tell(...(await ended));
