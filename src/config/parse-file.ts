import { open } from 'node:fs/promises'
import { extname } from 'node:path'
import { parse as parseToml, TomlError } from 'smol-toml'
import { LineCounter, parseDocument } from 'yaml'
import { LeafkeeperError, messageOf } from '../errors.ts'

const largestBytes = 1024 * 1024

/** Where a file cannot be read as what its name says; never the text that stands there, which may be a secret. */
interface Fault {
  readonly line?: number | undefined
  readonly column?: number | undefined
  readonly what: string
}

const formats: Readonly<
  Record<string, { readonly name: string; readonly parse: (text: string) => unknown }>
> = {
  '.json': { name: 'JSON', parse: readJson },
  '.yaml': { name: 'YAML', parse: readYaml },
  '.yml': { name: 'YAML', parse: readYaml },
  '.toml': { name: 'TOML', parse: readToml },
}

/**
 * Reads a file of JSON, YAML 1.2 or TOML, as its name ends.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` with the line where it knows it
 */
export async function parseFile(file: string): Promise<unknown> {
  const format = formats[extname(file).toLowerCase()]
  if (format === undefined)
    throw invalid(`Expected the name of ${file} to end in one of ${Object.keys(formats).join(', ')}.`)
  const text = await readText(file)
  try {
    return format.parse(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    const { line, column, what } = error.fault
    const place =
      line === undefined ? '' : `, line ${line}${column === undefined ? '' : `, column ${column}`}`
    throw invalid(`${file} is not ${format.name}${place}: ${what}.`)
  }
}

async function readText(file: string): Promise<string> {
  try {
    const handle = await open(file)
    try {
      const { size } = await handle.stat()
      if (size > largestBytes)
        throw invalid(`${file} has ${size} bytes; a configuration has at most ${largestBytes}.`)
      return await handle.readFile('utf8')
    } finally {
      await handle.close()
    }
  } catch (cause) {
    if (cause instanceof LeafkeeperError) throw cause
    throw invalid(`The configuration ${file} cannot be read (${messageOf(cause)}).`, cause)
  }
}

class FormatError extends Error {
  readonly fault: Fault

  constructor(fault: Fault) {
    super(fault.what)
    this.fault = fault
  }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    // V8 repeats a part of the text in its message, and not always says where it stands.
    const position = /at position (\d+)/.exec(messageOf(error))?.[1]
    const before = position === undefined ? undefined : text.slice(0, Number(position)).split('\n')
    throw new FormatError({
      line: before?.length,
      column: before === undefined ? undefined : (before.at(-1)?.length ?? 0) + 1,
      what: 'a comma, a quote or a bracket is missing or too many',
    })
  }
}

function readYaml(text: string): unknown {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: false })
  const [fault] = [...document.errors, ...document.warnings]
  if (fault === undefined) {
    try {
      return document.toJS() as unknown
    } catch {
      throw new FormatError({ what: 'an alias leads nowhere, or to too much' })
    }
  }
  const { line, col } = lineCounter.linePos(fault.pos[0])
  throw new FormatError({ line, column: col, what: fault.code.toLowerCase().replaceAll('_', ' ') })
}

function readToml(text: string): unknown {
  try {
    return parseToml(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const { line, column, message } = error
    // After the first line comes the text itself.
    const what = message.split('\n', 1)[0]?.replace(/^Invalid TOML document: /, '') ?? ''
    throw new FormatError({ line, column, what })
  }
}

function invalid(message: string, cause?: unknown): LeafkeeperError {
  return new LeafkeeperError('AGENT_CONFIG_INVALID', { message, ...(cause === undefined ? {} : { cause }) })
}
