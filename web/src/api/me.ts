import { queryOptions } from "@tanstack/react-query";

import { requestJson } from "./http";
import type { User } from "./types";

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: ({ signal }) => requestJson<User>("/auth/me", { signal }),
  staleTime: Infinity,
});
