import { useQuery } from "@tanstack/react-query";

import { meQuery } from "../../api/me";
import { Panel, SectionPage, type Section } from "../../ui/section-page";
import { EventsSection } from "./events-section";
import { InvitationsSection } from "./invitations-section";
import { UsersSection } from "./users-section";

const SECTIONS = [
  { id: "users", label: "Users", icon: "users" },
  { id: "invitations", label: "Invitations", icon: "mail" },
  { id: "events", label: "Audit log", icon: "list" },
] as const satisfies readonly Section[];

interface Props {
  section: string;
  onGo: (section: string) => void;
  onClose: () => void;
}

/** Whose server this is: accounts, invitations, and what happened to them. `events/USER` are those of one user. */
export function Administration({ section, onGo, onClose }: Props) {
  const { data: me } = useQuery(meQuery);
  const [name, userId = ""] = section.split("/");
  const current = SECTIONS.find(({ id }) => id === name) ?? SECTIONS[0];
  const content = {
    users: <UsersSection ownId={me?.user_id ?? ""} onShowEvents={(id) => onGo(`events/${id}`)} />,
    invitations: <InvitationsSection />,
    events: <EventsSection userId={userId} onShowAll={() => onGo("events")} />,
  }[current.id];
  return (
    <SectionPage
      title="Administration"
      sections={SECTIONS}
      current={current}
      onGo={onGo}
      backLabel="Back to your questions"
      onBack={onClose}
    >
      {me?.is_admin === false ? <Panel title="This is for administrators" about="Ask one of them." /> : me && content}
    </SectionPage>
  );
}
