import { TLSSocket } from 'node:tls'
import type { Context } from 'hono'
import { PresentedChain } from '../pki/presented-chain.ts'
import type { HttpEnvironment } from './service-app.ts'

/** The client certificates that the peer of a request has shown in its TLS handshake. */
export function presentedBy(context: Context<HttpEnvironment>): PresentedChain {
  const { socket } = context.env.incoming
  return socket instanceof TLSSocket ? PresentedChain.of(socket) : new PresentedChain(undefined)
}
