import type { IssueAnswer, IssueRequest, Issuer } from './issuer.ts'

/** The two calls of a pipeline that is a function; `resume` is needed only where `submit` may answer `pending`. */
export interface IssuerFunctions {
  readonly submit: (request: IssueRequest) => Promise<string | IssueAnswer>
  readonly resume?: (ticket: string, request: IssueRequest) => Promise<string | IssueAnswer>
}

/**
 * An issuer for library users: one function that takes the request and gives the chain, as PEM with the leaf first.
 *
 * @example
 * ```ts
 * const issuer = functionIssuer('our-ca', async ({ csr, signal }) => {
 *   const response = await fetch('https://ca.example/sign', { method: 'POST', body: csr, signal })
 *   if (response.status === 403) throw new LeafkeeperError('ISSUER_REFUSED', { message: await response.text() })
 *   return response.text()
 * })
 * ```
 */
export function functionIssuer(name: string, pipeline: IssuerFunctions['submit'] | IssuerFunctions): Issuer {
  const functions = typeof pipeline === 'function' ? { submit: pipeline } : pipeline
  const resume = functions.resume ?? ((_ticket: string, request: IssueRequest) => functions.submit(request))
  return {
    name,
    submit: async (request) => asAnswer(await functions.submit(request)),
    resume: async (ticket, request) => asAnswer(await resume(ticket, request)),
  }
}

function asAnswer(answer: string | IssueAnswer): IssueAnswer {
  return typeof answer === 'string' ? { kind: 'issued', chain: answer } : answer
}
