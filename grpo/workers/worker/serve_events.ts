/** What a worker tells of itself. */
export type ServeEvent =
  /** It is there, and looks for a run. */
  | { readonly kind: 'ready'; readonly server: string; readonly adapter: string }
  | { readonly kind: 'joined' | 'left'; readonly run: string }
  /** It may not serve this run, or can't. */
  | { readonly kind: 'refused'; readonly run: string; readonly reason: string }
  /** A shard is drawn or differentiated, or pictures of an evaluation are. */
  | {
      readonly kind: 'task';
      readonly task: 'draw' | 'learn' | 'look';
      readonly run: string;
      /** Of a shard the number of its update, and groups that were drawn. */
      readonly update?: number;
      readonly groups?: number;
      /** Of an evaluation. */
      readonly pictures?: number;
      readonly seconds: { readonly draw: number; readonly learn: number; readonly move: number };
    }
  /** Something that a person should know; it goes on. */
  | { readonly kind: 'warning'; readonly message: string };
