import type { Context } from 'hono'
import { ServiceError } from '../errors.ts'
import type { HttpEnvironment } from './service-app.ts'

const defaultLimit = 256 * 1024
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
  limit: number = defaultLimit,
): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of bodyOf(context)) {
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

/** Reads a JSON body. @throws ServiceError 400 when it is no JSON, 413 when it is too large */
export async function readJson(context: Context<HttpEnvironment>, limit?: number): Promise<unknown> {
  const body = await readBody(context, limit)
  try {
    return JSON.parse(body.toString()) as unknown
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

function bodyOf(context: Context<HttpEnvironment>): AsyncIterable<Uint8Array> | readonly Uint8Array[] {
  const { body } = context.req.raw
  return body === null ? [] : (body as AsyncIterable<Uint8Array> & typeof body)
}
