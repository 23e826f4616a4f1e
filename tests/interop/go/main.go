// Asks with OpenAI's SDK for Go: client URL KEY MODEL... Prints "NAME: ok", or what went wrong.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

var client openai.Client

func ask(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    model,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("What is the weather in Paris?")},
	}
}

func withTools(model string) openai.ChatCompletionNewParams {
	asked := ask(model)
	asked.Tools = []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
			Name: "get_weather",
			Parameters: openai.FunctionParameters{
				"type": "object", "properties": map[string]any{"city": map[string]string{"type": "string"}},
				"required": []string{"city"},
			},
		}),
	}
	asked.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("required")}
	return asked
}

func called(message openai.ChatCompletionMessage) error {
	if len(message.ToolCalls) != 1 {
		return fmt.Errorf("%d tool calls", len(message.ToolCalls))
	}
	var arguments map[string]any
	return json.Unmarshal([]byte(message.ToolCalls[0].Function.Arguments), &arguments)
}

func chat(ctx context.Context, model string) error {
	answer, err := client.Chat.Completions.New(ctx, ask(model))
	if err != nil {
		return err
	}
	if answer.Choices[0].Message.Content == "" || answer.Choices[0].FinishReason != "stop" || answer.Usage.CompletionTokens == 0 {
		return fmt.Errorf("answered %s", answer.RawJSON())
	}
	return nil
}

func gathered(ctx context.Context, asked openai.ChatCompletionNewParams) (openai.ChatCompletionAccumulator, error) {
	var whole openai.ChatCompletionAccumulator
	stream := client.Chat.Completions.NewStreaming(ctx, asked)
	defer stream.Close()
	for stream.Next() {
		whole.AddChunk(stream.Current())
	}
	if stream.Err() != nil {
		return whole, stream.Err()
	}
	if len(whole.Choices) != 1 {
		return whole, fmt.Errorf("%d choices", len(whole.Choices))
	}
	return whole, nil
}

func stream(ctx context.Context, model string) error {
	asked := ask(model)
	asked.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	whole, err := gathered(ctx, asked)
	if err != nil {
		return err
	}
	if whole.Choices[0].Message.Content == "" || whole.Choices[0].FinishReason != "stop" || whole.Usage.TotalTokens == 0 {
		return fmt.Errorf("streamed %+v", whole.Choices[0])
	}
	return nil
}

func left(ctx context.Context, model string) error {
	stream := client.Chat.Completions.NewStreaming(ctx, ask(model))
	if !stream.Next() {
		return fmt.Errorf("nothing came: %v", stream.Err())
	}
	return stream.Close()
}

func tools(ctx context.Context, model string) error {
	answer, err := client.Chat.Completions.New(ctx, withTools(model))
	if err != nil {
		return err
	}
	return called(answer.Choices[0].Message)
}

func streamedTools(ctx context.Context, model string) error {
	whole, err := gathered(ctx, withTools(model))
	if err != nil {
		return err
	}
	return called(whole.Choices[0].Message)
}

func response(ctx context.Context, model string) error {
	asked := responses.ResponseNewParams{
		Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hello")},
	}
	answer, err := client.Responses.New(ctx, asked)
	if err != nil {
		return err
	}
	if answer.OutputText() == "" {
		return errors.New("no text")
	}
	stream := client.Responses.NewStreaming(ctx, asked)
	defer stream.Close()
	last := ""
	for stream.Next() {
		last = stream.Current().Type
	}
	if stream.Err() != nil {
		return stream.Err()
	}
	if last != "response.completed" {
		return fmt.Errorf("the last event is %s", last)
	}
	return nil
}

func failsWith(status int, err error) error {
	var told *openai.Error
	if !errors.As(err, &told) {
		return fmt.Errorf("no error of the API: %v", err)
	}
	if told.StatusCode != status {
		return fmt.Errorf("status %d", told.StatusCode)
	}
	return nil
}

func report(name string, test func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	said := "ok"
	if err := test(ctx); err != nil {
		said = strings.Join(strings.Fields(err.Error()), " ")
	}
	fmt.Printf("%s: %.250s\n", name, said)
}

func main() {
	url, key, models := os.Args[1], os.Args[2], os.Args[3:]
	client = openai.NewClient(option.WithBaseURL(url), option.WithAPIKey(key), option.WithMaxRetries(0))
	report("models", func(ctx context.Context) error {
		page, err := client.Models.List(ctx)
		if err == nil && len(page.Data) < len(models) {
			err = fmt.Errorf("%d models", len(page.Data))
		}
		return err
	})
	report("embeddings", func(ctx context.Context) error {
		input := openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}}
		answer, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "embed", Input: input})
		if err == nil && len(answer.Data) != 2 {
			err = fmt.Errorf("%d vectors", len(answer.Data))
		}
		return err
	})
	report("unknown model", func(ctx context.Context) error {
		_, err := client.Chat.Completions.New(ctx, ask("none"))
		return failsWith(404, err)
	})
	report("unknown key", func(ctx context.Context) error {
		other := openai.NewClient(option.WithBaseURL(url), option.WithAPIKey("sk-wrong"), option.WithMaxRetries(0))
		_, err := other.Models.List(ctx)
		return failsWith(401, err)
	})
	for _, model := range models {
		for _, one := range []struct {
			name string
			test func(context.Context, string) error
		}{
			{"chat", chat}, {"stream", stream}, {"left", left}, {"tools", tools}, {"streamed tools", streamedTools},
			{"responses", response},
		} {
			report(model+" "+one.name, func(ctx context.Context) error { return one.test(ctx, model) })
		}
	}
}
