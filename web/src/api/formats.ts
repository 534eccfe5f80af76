/** The formats that can be read, in words: said wherever files are asked for. */
export const FORMATS =
  "PDF, Word, PowerPoint, Excel, web pages, Markdown, plain text, CSV, EPUB, JSON and source code; ZIP files of them, too";
