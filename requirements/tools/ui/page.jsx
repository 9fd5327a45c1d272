// A page as people build it: `useChat()` and nothing of ours.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const query = new URLSearchParams(location.search);
const api = query.get("api");
const id = query.get("chat");
const kept = `messages-${id}`;

function Page() {
  const [input, setInput] = useState("");
  const { messages, sendMessage, status, error, regenerate, resumeStream } = useChat({
    id,
    messages: JSON.parse(localStorage.getItem(kept) ?? "[]"),
    resume: true,
    transport: new DefaultChatTransport({ api }),
  });
  // What a server of the page's would keep: everything but the answer that is being written.
  useEffect(() => {
    const whole = status === "ready" ? messages : messages.filter(message => message.role === "user");
    if (whole.length > 0) localStorage.setItem(kept, JSON.stringify(whole));
  }, [messages, status]);
  return (
    <main>
      <h1>PluckIt</h1>
      {messages.map(message => (
        <article key={message.id} className={message.role}>
          {message.parts.map((part, index) => {
            if (part.type === "text") return <p key={index}>{part.text}</p>;
            if (part.type === "dynamic-tool") return <code key={index} className="tool">{part.toolName}: {part.state}</code>;
            return null;
          })}
        </article>
      ))}
      <form onSubmit={event => { event.preventDefault(); sendMessage({ text: input }); setInput(""); }}>
        <input value={input} onChange={event => setInput(event.target.value)} placeholder="Say something" />
        <button id="send">Send</button>
        <button id="stop" type="button" onClick={() => fetch(`${api}/${id}/stop`, { method: "POST" })}>Stop</button>
        <button id="regenerate" type="button" onClick={() => regenerate()}>Again</button>
        <button id="resume" type="button" onClick={() => resumeStream()}>Resume</button>
      </form>
      <footer id="status">{status}{error ? `: ${error.message}` : ""}</footer>
    </main>
  );
}

createRoot(document.getElementById("root")).render(<Page />);
