import { styleText } from 'node:util'

/** Tells a person how far the story is. */
export interface Progress {
  /** Begins a step, and ends the one before it as done. */
  step(title: string): void
  /** One fact about the present step. */
  detail(text: string): void
  /** Ends the present step. */
  done(): void
  /** Ends the present step as failed. */
  failed(reason: string): void
}

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']

/** Steps with a spinner on a terminal, plain lines anywhere else. */
export function progressOn(stream: NodeJS.WriteStream): Progress {
  return stream.isTTY ? spinningProgress(stream) : plainProgress(stream)
}

function plainProgress(stream: NodeJS.WritableStream): Progress {
  const line = (text: string): void => void stream.write(`${text}\n`)
  return {
    step: (title) => line(`* ${title}`),
    detail: (text) => line(`    ${text}`),
    done: () => undefined,
    failed: (reason) => line(`! ${reason}`),
  }
}

function spinningProgress(stream: NodeJS.WriteStream): Progress {
  let title: string | undefined
  let frame = 0
  let timer: NodeJS.Timeout | undefined
  const clear = (): void => void stream.write('\r\u001b[2K')
  const draw = (): void => {
    if (title === undefined) return
    frame = (frame + 1) % frames.length
    clear()
    stream.write(`${styleText('cyan', frames[frame] ?? '')} ${title.slice(0, stream.columns - 3)}`)
  }
  const end = (mark: string): void => {
    clearInterval(timer)
    if (title === undefined) return
    clear()
    stream.write(`${mark} ${title}\n`)
    title = undefined
  }
  // Details come after their step's line, so they are kept until it is written.
  let details: string[] = []
  const flush = (): void => {
    for (const text of details) stream.write(`${styleText('dim', `    ${text}`)}\n`)
    details = []
  }
  const finish = (mark: string): void => {
    end(mark)
    flush()
  }
  return {
    step(next) {
      finish(styleText('green', '✔'))
      title = next
      draw()
      timer = setInterval(draw, 80)
      timer.unref()
    },
    detail: (text) => void details.push(text),
    done: () => finish(styleText('green', '✔')),
    failed(reason) {
      details.push(reason)
      finish(styleText('red', '✘'))
    },
  }
}
