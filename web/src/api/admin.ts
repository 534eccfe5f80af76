/** What administrators see and do; anybody else gets a 403. */
import { infiniteQueryOptions, keepPreviousData, type QueryClient } from "@tanstack/react-query";

import { requestJson, sendJson } from "./http";
import type { EventList, InvitationList, InvitationMade, UserChange, UserList, UserMade, UserView } from "./types";

const userPath = (userId: string): string => `/admin/users/${encodeURIComponent(userId)}`;

/** A list behind a cursor, whatever it is filtered by. */
function list<P extends { items: I[]; next_cursor: string | null }, I = P["items"][number]>(
  path: string,
  filter: Record<string, string>,
) {
  return infiniteQueryOptions({
    queryKey: [path, filter],
    queryFn: ({ pageParam, signal }) => {
      const given = Object.entries({ ...filter, cursor: pageParam }).filter(([, value]) => value !== "");
      const query = new URLSearchParams(given).toString();
      return requestJson<P>(query ? `${path}?${query}` : path, { signal });
    },
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    placeholderData: keepPreviousData,
    select: (data) => data.pages.flatMap((page) => page.items),
  });
}

export const usersQuery = (q = "") => list<UserList>("/admin/users", { q });
export const invitationsQuery = list<InvitationList>("/admin/invitations", {});
export const eventsQuery = (kind: string, userId: string) =>
  list<EventList>("/admin/events", { kind, user_id: userId });

/** Something was done: what is shown of users and events is read again. */
export const refreshUsers = (client: QueryClient): Promise<unknown> =>
  Promise.all(["/admin/users", "/admin/events"].map((path) => client.invalidateQueries({ queryKey: [path] })));

export const refreshInvitations = (client: QueryClient): Promise<unknown> =>
  client.invalidateQueries({ queryKey: ["/admin/invitations"] });

/** A password is made up where none is given, and told this once. */
export const addUser = (email: string, isAdmin: boolean): Promise<UserMade> =>
  sendJson("/admin/users", "POST", { email, is_admin: isAdmin });

/** `limits` stand in the place of all that were set before. */
export const changeUser = (userId: string, change: UserChange): Promise<UserView> =>
  sendJson(userPath(userId), "PATCH", change);

export const resetPassword = (userId: string): Promise<{ password: string }> =>
  sendJson(`${userPath(userId)}/reset-password`, "POST");

export const deleteUser = (userId: string): Promise<void> => sendJson(userPath(userId), "DELETE");

export const invite = (email: string, expiresInDays: number): Promise<InvitationMade> =>
  sendJson("/admin/invitations", "POST", { ...(email && { email }), expires_in_days: expiresInDays });

export const revokeInvitation = (invitationId: string): Promise<void> =>
  sendJson(`/admin/invitations/${encodeURIComponent(invitationId)}`, "DELETE");
