import { authorisedFetch } from "../api/http";
import type { Link } from "./follow";

/** The real server and the real clock; a network that comes back ends the pause. */
export const serverLink: Link = {
  fetch: authorisedFetch,
  pause: (ms, signal) =>
    new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        removeEventListener("online", done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      addEventListener("online", done);
      signal.addEventListener("abort", done);
    }),
};
