import { Icon } from "./icon";
import styles from "./search-field.module.css";

interface Props {
  label: string;
  words: string;
  maxLength?: number;
  onChange: (words: string) => void;
  "data-testid"?: string;
}

export function SearchField({ label, words, maxLength = 200, onChange, ...rest }: Props) {
  return (
    <label className={styles.search}>
      <Icon name="search" size={16} />
      <span className="visually-hidden">{label}</span>
      <input
        type="search"
        value={words}
        maxLength={maxLength}
        placeholder={label}
        onChange={(event) => onChange(event.currentTarget.value)}
        {...rest}
      />
    </label>
  );
}
