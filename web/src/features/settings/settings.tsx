import { SectionPage, type Section } from "../../ui/section-page";
import { DataSection } from "./data-section";
import { EvaluationSection } from "./evaluation-section";
import { KeysSection } from "./keys-section";
import { ProfileSection } from "./profile-section";
import { SecuritySection } from "./security-section";
import { UsageSection } from "./usage-section";

const SECTIONS = [
  { id: "profile", label: "Profile", icon: "user", content: ProfileSection },
  { id: "security", label: "Password and logins", icon: "laptop", content: SecuritySection },
  { id: "keys", label: "API keys", icon: "key", content: KeysSection },
  { id: "usage", label: "Usage and limits", icon: "gauge", content: UsageSection },
  { id: "evaluation", label: "Evaluation", icon: "thumb-up", content: EvaluationSection },
  { id: "data", label: "Your data", icon: "save", content: DataSection },
] as const satisfies readonly (Section & { content: () => React.ReactNode })[];

interface Props {
  section: string;
  onGo: (section: string) => void;
  onClose: () => void;
}

/** What belongs to the account of the user, each matter in a section of its own. */
export function Settings({ section, onGo, onClose }: Props) {
  const current = SECTIONS.find(({ id }) => id === section) ?? SECTIONS[0];
  const Content = current.content;
  return (
    <SectionPage
      title="Settings"
      sections={SECTIONS}
      current={current}
      onGo={onGo}
      backLabel="Back to your questions"
      onBack={onClose}
    >
      <Content />
    </SectionPage>
  );
}
