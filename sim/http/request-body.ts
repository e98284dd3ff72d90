import type { Context } from 'hono'
import { ServiceError } from '../errors.ts'
import { isTooDeep } from '../json-depth.ts'
import type { HttpEnvironment } from './service-app.ts'

/** The largest body of most requests, in bytes. */
export const largestBody = 256 * 1024
// More than this is not even read to its end; the connection goes with it.
const patience = 16 * 1024 * 1024

/**
 * Reads a body.
 *
 * @param limit - bytes
 * @throws ServiceError 413 when it is larger
 */
export async function readBody(
  context: Context<HttpEnvironment>,
  limit: number = largestBody,
): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  // Node's stream: a web stream for each small body would take longer than all the rest of a request.
  const body = context.env.incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
  for await (const chunk of body) {
    size += chunk.length
    // What is too much is read and forgotten, so that the client is there to hear about it.
    if (size <= limit) chunks.push(chunk)
    if (size > patience) break
  }
  if (size > limit) {
    context.header('connection', 'close')
    throw new ServiceError(413, 413001, `The body is larger than ${limit} bytes.`)
  }
  return Buffer.concat(chunks)
}

/** Reads a JSON body. @throws ServiceError 400 when it is no JSON or too deep, 413 when it is too large */
export async function readJson(context: Context<HttpEnvironment>, limit?: number): Promise<unknown> {
  const text = (await readBody(context, limit)).toString()
  if (isTooDeep(text)) throw new ServiceError(400, 400004, 'Bad request: the body is nested too deeply.')
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new ServiceError(400, 400004, 'Bad request: the body is no JSON.')
  }
}

/** A JSON object. */
export type JsonRecord = Readonly<Record<string, unknown>>

/** Reads a body that must be a JSON object. @throws ServiceError 400, 413 */
export async function readJsonObject(context: Context<HttpEnvironment>, limit?: number): Promise<JsonRecord> {
  const value = await readJson(context, limit)
  if (isRecord(value)) return value
  throw new ServiceError(400, 400004, 'Bad request: expected a JSON object.')
}

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
