/** Asking a server of this machine by node:http, which sends a path as it is given. */
import { type IncomingHttpHeaders, request } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Asks for a path; what stands beside `method` and `body` are headers. */
export const ask = (
  { port }: { readonly port: number },
  path: string,
  { method = 'GET', body, ...headers }: Record<string, string> = {},
): Promise<Answer> =>
  new Promise((done, fail) => {
    request({ host: '127.0.0.1', port, path, method, headers }, (response) => {
      let text = '';
      response.on('data', (data) => {
        text += data;
      });
      response.on('end', () => done({ status: response.statusCode!, headers: response.headers, text }));
    })
      .on('error', fail)
      .end(body);
  });
